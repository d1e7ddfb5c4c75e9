"""README's table of clients tells the truth about its tests."""
import ast
from pathlib import Path

import pytest

from clients import ADDRESS, Setting, table

HERE = Path(__file__).parent


def test_there_is_a_table():
    assert len(table()) > 10


@pytest.mark.parametrize("client", table())
def test_each_row_has_tests_that_set_the_client_up_from_it(client):
    setting, tests = table()[client]
    assert ADDRESS in setting and tests
    for name in tests:
        module, _, function = name.partition("::")
        source = (HERE / module).read_text("utf-8")
        functions = {f.name for f in ast.parse(source).body if isinstance(f, ast.FunctionDef)}
        assert function in functions, f"{name} is not there"
        assert f'"{client}"' in source, f"{module} does not use the row"


def test_a_setting_is_what_the_row_says():
    s = Setting("Gemini CLI", 4711)
    assert s.env == {"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:4711", "GEMINI_API_KEY": "any"}
    assert s.files == {".gemini/settings.json":
                       '{"security": {"auth": {"selectedType": "gemini-api-key"}}}\n'}
    assert Setting("Codex CLI", 4711).files[".codex/config.toml"].splitlines()[0] == \
        'model_provider = "holdfast"'
    assert Setting("LangChain, `ChatOpenAI`", 4711).code.startswith("new ChatOpenAI(")
