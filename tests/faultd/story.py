"""One text that every upstream knows by heart: an answer that two of them made can be checked to
the byte, whoever began it."""
import functools
import random
import re

# Sixty words.
TEXT = ("A proxy earns little praise while its providers are well. Its worth shows on the day when "
        "one falls silent, another claims to be “full” and the third stops in the middle of a "
        "sentence; then whoever reads should notice nothing but words that arrive one after "
        "another, each exactly once, in their naïve order, to the last of sixty.")
# What somebody says who was asked the same and has words of their own.
OTHER = ("Good days teach nobody what stands between callers and models. Ask again when an upstream "
         "hangs: then the one in between has to know whom to turn to, and how soon.")
LEAST_QUOTE = 8  # characters: less may stand in any sentence by chance
WORDS = ("the a of and to in is that with for each when one two more than stream answer model token "
         "provider breaks goes on where it was left caller sees nothing na\u00efve caf\u00e9 \u00fcber "
         "\u201cfull\u201d \U0001f600 \u6771\u4eac e\u0301t\u00e9 \u2014 42 3.14 x86_64 foo() `bar` **bold** "
         "https://a.example/b?c=d").split()


@functools.cache
def text_of(which):
    """"story", "other", "none", or the text of a seed: prose, lists, tables and code, long or short.
    "SEED/N" has N sentences; "SEED/N/M" M chapters of them."""
    if which in ("story", "other", "none"):
        return {"story": TEXT, "other": OTHER, "none": ""}[which]
    if which.count("/") == 2:
        chapter, _, many = which.rpartition("/")
        return "\n\n".join(f"# {i}\n\n{text_of(chapter)}" for i in range(int(many)))
    seed, _, n = which.partition("/")
    chance, text = random.Random(f"text {seed}"), ""
    for i in range(int(n or chance.choice((1, 2, 5, 12, 40)))):
        words = [chance.choice(WORDS) for _ in range(chance.randrange(3, 15))]
        kind = chance.random()
        if kind < 0.75:
            text += " ".join(words).capitalize() + chance.choice((". ", ". ", "! ", "?\n\n", ".\n\n"))
        elif kind < 0.85:
            text += f"\n{i}. " + " ".join(words) + "\n"
        elif kind < 0.92:
            text += "\n| " + " | ".join(words[:4]) + " |\n|---|---|---|---|\n"
        else:
            text += "\n```c\n    int " + words[0] + f" = {i};\n\treturn;\n```\n"
    return text.rstrip() or "Nothing."


def pieces(text, size=0):
    """The text in the tokens of a stream: words with the space before them, or `size` characters."""
    if size:
        return [text[i:i + size] for i in range(0, len(text), size)]
    return re.findall(r"\s*\S+|\s+$", text)


def turns(request):
    """[(role, text)] of a request, in any of the four dialects."""
    asked = request.get("messages") or request.get("contents") or request.get("input") or []
    found = []
    for m in [{"role": "user", "content": asked}] if isinstance(asked, str) else asked:
        said = m.get("content", m.get("parts"))
        if isinstance(said, list):
            said = "".join(part.get("text", "") for part in said)
        found.append(("assistant" if m.get("role") == "model" else m.get("role"), said or ""))
    return found


def is_prefilled(request):
    """Does it end with the beginning of the answer, to be gone on with?"""
    said = turns(request)
    return bool(said) and said[-1][0] == "assistant"


def answer_to(request, turn, text=TEXT, echo=0):
    """What a model says that knows the text. Behind a beginning of it in an assistant's message it
    goes on exactly there, or with the last `echo` characters of it once more. Told by the user, behind
    such a message, to repeat its last characters and go on: turn "repeats" does so, "quotes" puts them
    in quotation marks behind a polite word, "restarts" begins anew, as it does for anything else."""
    said = turns(request) or [("user", "")]
    role, last = said[-1]
    if role == "assistant" and text.startswith(last):
        return text[max(0, len(last) - echo):]
    if turn != "restarts" and len(said) > 1 and said[-2][0] == "assistant":
        sent = said[-2][1]
        for n in range(len(sent), LEAST_QUOTE - 1, -1):
            if text.startswith(sent) and sent[-n:] in last:
                quote = sent[-n:] if turn == "repeats" else f'Sure: "{sent[-n:]}"'
                return quote + text[len(sent):]
    return text
