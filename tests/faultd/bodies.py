"""What providers and the boxes in front of them say: JSON errors, HTML pages, chat answers."""
import json

CREATED = 1_750_000_000


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error(message, kind="server_error", code=None, param=None):
    return dump({"error": {"message": message, "type": kind, "param": param, "code": code}})


# status: (type, code, message) as OpenAI words them
ERRORS = {
    400: ("invalid_request_error", None, "Invalid value: 'wizard'. Supported values are: 'system', "
          "'assistant', 'user', 'function', 'tool', and 'developer'."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}. You can "
          "find your API key in your account settings."),
    402: ("insufficient_quota", None, "Insufficient credits. Add more to continue."),
    403: ("invalid_request_error", "unsupported_country_region_territory",
          "Country, region, or territory not supported"),
    404: ("invalid_request_error", "model_not_found",
          "The model `{model}` does not exist or you do not have access to it."),
    408: ("server_error", "timeout", "Request timed out."),
    409: ("conflict_error", None, "The resource is locked by another request."),
    413: ("invalid_request_error", None, "Request entity too large"),
    422: ("invalid_request_error", None, "Input should be a valid list"),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for {model} on requests per min "
          "(RPM): Limit 3, Used 3, Requested 1."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry!"),
    502: ("cf_bad_gateway", "502", "Bad gateway."),
    503: ("server_error", "overloaded", "The engine is currently overloaded, please try again."),
    504: ("server_error", "timeout", "Gateway timeout."),
    529: ("overloaded_error", None, "Overloaded"),
}

# presets of `status`: (status, type, code, message)
PRESETS = {
    "quota": (429, "insufficient_quota", "insufficient_quota",
              "You exceeded your current quota, please check your plan and billing details."),
    "context_length": (400, "invalid_request_error", "context_length_exceeded",
                       "This model's maximum context length is 8192 tokens. However, your "
                       "messages resulted in 9001 tokens."),
    "content_policy": (400, "invalid_request_error", "content_policy_violation",
                       "Your request was rejected as a result of our safety system."),
    "unsupported_parameter": (400, "invalid_request_error", "unsupported_parameter",
                              "Unsupported parameter: 'max_tokens' is not supported with this "
                              "model. Use 'max_completion_tokens' instead."),
    "no_temperature": (400, "invalid_request_error", "unsupported_value",
                       "Unsupported value: 'temperature' does not support 0.3 with this model. Only "
                       "the default (1) value is supported."),
    "no_minimal": (400, "invalid_request_error", "unsupported_value",
                   "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. "
                   "Supported values are: 'low', 'medium', and 'high'."),
    "bad_state": (400, "invalid_request_error", "invalid_encrypted_content",
                  "The encrypted content gAAA could not be verified."),
    "too_many_tokens": (429, "tokens", "rate_limit_exceeded", "Request too large for gpt-4o on tokens "
                        "per min (TPM): Limit 30000, Requested 45000. The input or output tokens "
                        "must be reduced in order to run successfully."),
    "no_prefill": (400, "invalid_request_error", None, "This model does not support assistant "
                   "message prefill. The conversation must end with a user message."),
    "credit_balance": (400, "invalid_request_error", None, "Your credit balance is too low to "
                       "access the API. Please go to Plans & Billing."),
}

PAGES = {
    "nginx": "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>"
             "{status} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    "cloudflare": "<!DOCTYPE html>\n<html lang=\"en-US\">\n<head>\n<title>api.upstream.test | "
                  "{status}: {reason}</title>\n</head>\n<body><div id=\"cf-wrapper\"><div "
                  "id=\"cf-error-details\"><h1>{reason} <span>Error code {status}</span></h1>"
                  "<p>The web server reported an error.</p></div></div></body>\n</html>\n",
    "text": "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    "portal": "<html><head><title>Welcome to Guest WiFi</title></head><body><form>Please accept "
              "the terms of use.</form></body></html>",
}


def status_body(code, kind, reason, model, key):
    """(content type, bytes) of an error answer of the given kind."""
    if kind == "empty":
        return None, b""
    if kind in PAGES:
        page = PAGES[kind].format(status=code, reason=reason)
        return ("text/plain" if kind == "text" else "text/html; charset=UTF-8"), page.encode()
    name, word, message = ERRORS.get(code, ("server_error", None, reason))
    body = error(message.format(model=model, key=key), name, word)
    return "application/json", b"[" + body + b"]" if kind == "array" else body


def usage(n):
    return {"prompt_tokens": 11, "completion_tokens": n, "total_tokens": 11 + n}


def tool_calls(n):
    """n calls, or those that are given."""
    if isinstance(n, list):
        return n
    return [{"id": f"call_{i}", "type": "function",
             "function": {"name": f"look_up_{i}",
                          "arguments": '{"city":"Zürich","n":%d}' % i}} for i in range(n)]


def completion(model, text, n_tokens, tools=0):
    message = {"role": "assistant", "content": None if tools else text}
    if tools:
        message["tool_calls"] = tool_calls(tools)
    return {"id": "chatcmpl-faultd", "object": "chat.completion", "created": CREATED,
            "model": model, "choices": [{"index": 0, "message": message, "logprobs": None,
                                         "finish_reason": "tool_calls" if tools else "stop"}],
            "usage": usage(n_tokens), "x_vendor_extra": {"kept": [1.0, 1e2, "\u00fc"]}}


def chunk(model, delta, finish=None, **extra):
    return {"id": "chatcmpl-faultd", "object": "chat.completion.chunk", "created": CREATED,
            "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            **extra}
