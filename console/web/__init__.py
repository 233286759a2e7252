"""The web console, `segue console`: pages over the functions that gather the JSON of the commands.

`pages` has a module for each page. A page is a function from a `visit.Visit` to a `visit.Page` or a `visit.Redirect`;
`routes` names the permission of each. `app` makes the application of them, and `guard` stands before it.
"""
