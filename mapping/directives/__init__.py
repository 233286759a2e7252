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
from mapping.directives.lint import lint
from mapping.directives.validate import directive_of, validate_mapping

__all__ = [
    "DIRECTIVES",
    "ROOT_DIRECTIVE",
    "compile_mapping",
    "compile_member",
    "compile_root",
    "compile_value",
    "directive_of",
    "lint",
    "root_of",
    "transform",
    "transform_batch",
    "validate_mapping",
]
