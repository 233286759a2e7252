"""Field mappings: JSON templates with `@` directives, validated and compiled once per configuration."""

from mapping.directives.compiler import (
    DIRECTIVES,
    ROOT_DIRECTIVE,
    compile_mapping,
    compile_member,
    compile_root,
    compile_value,
    root_of,
    transform,
    transform_batch,
)

__all__ = [
    "DIRECTIVES",
    "ROOT_DIRECTIVE",
    "compile_mapping",
    "compile_member",
    "compile_root",
    "compile_value",
    "root_of",
    "transform",
    "transform_batch",
]
