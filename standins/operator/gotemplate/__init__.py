"""Go's text/template language, as far as secret transformations need it.

`Templates` holds a set of named templates and renders one of them. The parser knows actions,
pipelines, variables, if/else/with/range/define/template/block, comments and trim markers; the
functions are Go's built-ins and the hermetic, non-cryptographic part of sprig that README.md
lists. Errors name the template, the line and the function, never a value.
"""

from __future__ import annotations

from standins.operator.gotemplate.errors import TemplateError
from standins.operator.gotemplate.execute import Templates

__all__ = ["TemplateError", "Templates"]
