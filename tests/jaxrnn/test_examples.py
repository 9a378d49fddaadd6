"""The examples in the library's docstrings, run as they stand there."""

import ast
import doctest
import importlib

import pytest
from root import ROOT

EXAMPLES = {
    f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}:{node.name}": ast.get_docstring(node)
    for path in sorted(ROOT.glob("jaxrnn/**/*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
    and ">>> " in (ast.get_docstring(node) or "")
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_prints_what_it_says(name):
    module = importlib.import_module(name.partition(":")[0])
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], dict(vars(module)), name, None, 0)
    assert test.examples
    report = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert not report, "".join(report)


def test_the_examples_are_found():
    assert len(EXAMPLES) >= 18
