"""One text that every upstream knows by heart: an answer that two of them made can be checked to
the byte, whoever began it."""
import re

# Sixty words.
TEXT = ("A proxy earns little praise while its providers are well. Its worth shows on the day when "
        "one falls silent, another claims to be “full” and the third stops in the middle of a "
        "sentence; then whoever reads should notice nothing but words that arrive one after "
        "another, each exactly once, in their naïve order, to the last of sixty.")
LEAST_QUOTE = 8  # characters: less may stand in any sentence by chance


def pieces(text):
    """The text in the tokens of a stream: words with the space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


def turns(request):
    """[(role, text)] of a request, in any of the three dialects."""
    found = []
    for m in request.get("messages") or request.get("contents") or []:
        said = m.get("content", m.get("parts"))
        if isinstance(said, list):
            said = "".join(part.get("text", "") for part in said)
        found.append(("assistant" if m.get("role") == "model" else m.get("role"), said or ""))
    return found


def is_prefilled(request):
    """Does it end with the beginning of the answer, to be gone on with?"""
    said = turns(request)
    return bool(said) and said[-1][0] == "assistant"


def answer_to(request, turn):
    """What a model says that knows the text. Behind a beginning of it in an assistant's message it
    goes on exactly there. Told by the user, behind such a message, to repeat its last characters
    and go on: turn "repeats" does so, "restarts" begins anew, as it does for anything else."""
    said = turns(request) or [("user", "")]
    role, last = said[-1]
    if role == "assistant" and TEXT.startswith(last):
        return TEXT[len(last):]
    if turn == "repeats" and len(said) > 1 and said[-2][0] == "assistant":
        sent = said[-2][1]
        for n in range(len(sent), LEAST_QUOTE - 1, -1):
            if TEXT.startswith(sent) and sent[-n:] in last:
                return sent[-n:] + TEXT[len(sent):]
    return TEXT
