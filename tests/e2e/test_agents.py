"""Coding agents, as they install, at work on a task with tools: with the provider they are made for,
and when that one dies on the way and a provider of another dialect goes on."""
import pytest

from clients import CALM, Setting, check_keys, installed, provider, run, targets
from faultd import task, voices

# How the first provider dies: behind its first call; in the middle of the second one, which the agent
# has begun to read; in the middle of the last words; or before it said anything.
DIES, CUT, CUT_LATE, DEAD = ("task?dies=1", "task?dies=1&how=eof", "task?dies=2&how=rst",
                             "status?code=503")


class Agent:
    """An agent's run before the proxy: how it went, and what each provider saw of it."""

    def __init__(self, tmp_path, upstream, holdfast):
        self.directory, self.upstream, self.holdfast = tmp_path, upstream, holdfast

    def work(self, client, command, native, then=None, script="task", env=None):
        """Runs the command, in which PROMPT stands for the task. native: what its own provider
        speaks; script: how that one does; then: what the other one speaks."""
        self.a, self.b = self.upstream("A", default=script), self.upstream("B", default="task")
        kinds = [native, then] if then else [native]
        self.proxy = self.holdfast(
            *(provider(n, k, u) for n, k, u in zip("ab", kinds, (self.a, self.b))),
            routes=[{"model": "*", "targets": targets(*kinds)}], **CALM)
        home, work = self.directory / "home", self.directory / "work"
        home.mkdir()
        work.mkdir()
        done = run([w.replace("PROMPT", task.prompt(work)) for w in command],
                   Setting(client, self.proxy.port), home, work, env)
        said = f"{done.stdout}\n{done.stderr}\n{self.trails()}"
        assert done.returncode == 0, said
        assert (work / "note.txt").read_text("utf-8") == task.NOTE + "\n", said
        assert done.stdout.count(task.told(task.NOTE)) == 1, said
        for name, kind, u in zip("ab", kinds, (self.a, self.b)):
            check_keys(name, kind, u)

    def steps(self, upstream):
        """How many results of calls were known, request by request of the task."""
        found = []
        for a in upstream.attempts:
            if a.script == "task" and task.tools_of(a.json):
                rows = task.history(voices.voice_of(a.path), a.json)
                found.append(sum(kind == "result" for kind, _, _ in rows))
        return found

    def trails(self):
        """Who was asked for each answer and what came of it, as the log tells."""
        return [[f"{a['target'].partition('/')[0]}={a['outcome']}" for a in row["attempts"]]
                for row in self.proxy.log_lines() if row["msg"] == "exchange" and row["attempts"]]

    def check_alone(self):
        """The native provider did all of it."""
        assert self.steps(self.a) == [0, 1, 2] and self.b.attempts == []
        assert set(map(tuple, self.trails())) == {("a=ok",)}

    def check_handed_over(self, at):
        """The other one went on when `at` results were known, and nobody did a step twice."""
        assert self.steps(self.b) == list(range(at, 3)), self.trails()
        assert self.steps(self.a)[:at] == list(range(at)), self.trails()
        trails = self.trails()
        first = next(i for i, t in enumerate(trails) if "b=ok" in t)
        assert any(step.startswith("a=") and step != "a=ok" for t in trails[:first + 1] for step in t)


@pytest.fixture
def agent(tmp_path, upstream, holdfast):
    return Agent(tmp_path, upstream, holdfast)


def claude_code(agent, **how):
    installed("@anthropic-ai/claude-code")
    agent.work("Claude Code", ["claude", "-p", "PROMPT", "--allowedTools", "Write,Bash"],
               "anthropic", **how, env={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"})


def test_claude_code(agent):
    claude_code(agent)
    agent.check_alone()


@pytest.mark.parametrize("then,script,at", [
    ("chat", CUT, 1), ("gemini", CUT_LATE, 2), ("responses", DEAD, 0)])
def test_claude_code_goes_on_with_another(agent, then, script, at):
    claude_code(agent, then=then, script=script)
    agent.check_handed_over(at)


def codex(agent, model=(), **how):
    installed("@openai/codex")
    agent.work("Codex CLI", ["codex", "exec", "--skip-git-repo-check", *model,
                             "--dangerously-bypass-approvals-and-sandbox", "PROMPT"],
               "responses", **how)


def test_codex(agent):
    codex(agent)
    agent.check_alone()


@pytest.mark.parametrize("then,script,at", [
    ("anthropic", DIES, 1), ("gemini", CUT, 1), ("chat", CUT_LATE, 2)])
def test_codex_goes_on_with_another(agent, then, script, at):
    codex(agent, then=then, script=script)
    agent.check_handed_over(at)


def test_codex_with_a_model_whose_tools_are_functions(agent):
    codex(agent, ("-m", "gpt-5.1-codex"), then="gemini", script=DIES)
    agent.check_handed_over(1)


def gemini_cli(agent, **how):
    installed("@google/gemini-cli")
    agent.work("Gemini CLI", ["gemini", "--yolo", "--prompt", "PROMPT"], "gemini", **how,
               env={"GEMINI_CLI_TRUST_WORKSPACE": "true"})


def test_gemini_cli(agent):
    gemini_cli(agent)
    agent.check_alone()


@pytest.mark.parametrize("then,script,at", [("anthropic", CUT, 1)])
def test_gemini_cli_goes_on_with_another(agent, then, script, at):
    gemini_cli(agent, then=then, script=script)
    agent.check_handed_over(at)


def opencode(agent, **how):
    installed("opencode-ai")
    agent.work("opencode", ["opencode", "run", "PROMPT"], "chat", **how, env={
        "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_PURE": "1"})


def test_opencode(agent):
    opencode(agent)
    agent.check_alone()


@pytest.mark.parametrize("then,script,at", [("anthropic", CUT_LATE, 2)])
def test_opencode_goes_on_with_another(agent, then, script, at):
    opencode(agent, then=then, script=script)
    agent.check_handed_over(at)
