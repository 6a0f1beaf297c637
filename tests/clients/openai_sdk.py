"""The official OpenAI Python SDK against the built-in provider `echo`.

usage: openai_sdk.py BASE_URL KEY      e.g. openai_sdk.py http://127.0.0.1:7400/v1 tl_…
Needs PyPI `openai[realtime]`. Leaves with 0 when all is as it should be, else with 1 and the first thing that was not.
"""

import asyncio
import json
import math
import sys
import time

import openai
import websockets

MODEL = "echo"
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def script(**what):
    return json.dumps({"echo": what})


def user(text):
    return [{"role": "user", "content": text}]


def chat(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello there"))
    assert answer.choices[0].message.content == "hello there", answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    again = client.chat.completions.create(model=MODEL, messages=user("hello there"))
    assert again.id == answer.id, "the same question has the same answer"
    short = client.chat.completions.create(model=MODEL, messages=user("one two three"), max_tokens=2, n=2)
    assert [c.message.content for c in short.choices] == ["one two ", "one two "]
    assert short.choices[1].finish_reason == "length"
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    seen = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])
    assert seen.choices[0].message.content == "look"
    assert answer._request_id, "an id to ask support about"


def chat_stream(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=user("a b c"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "a b c" and len(chunks) > 4, chunks
    assert chunks[-1].usage.completion_tokens == 3 and not chunks[-1].choices
    with client.chat.completions.stream(model=MODEL, messages=user("d e f")) as managed:
        final = managed.get_final_completion()
    assert final.choices[0].message.content == "d e f"
    assert final.choices[0].finish_reason == "stop"


def chat_tools(client):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}]
    messages = [
        {"role": "system", "content": script(tool_calls=[{"name": "weather", "arguments": {"city": "Jena"}}])},
        *user("how is the weather?"),
    ]
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather" and json.loads(call.function.arguments) == {"city": "Jena"}
    messages.append(answer.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    after = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
    assert after.choices[0].message.content == "sunny" and not after.choices[0].message.tool_calls
    with client.chat.completions.stream(model=MODEL, messages=messages[:2], tools=tools) as stream:
        final = stream.get_final_completion()
    (streamed,) = final.choices[0].message.tool_calls
    assert streamed.function.name == "weather" and json.loads(streamed.function.arguments) == {"city": "Jena"}
    forced = client.chat.completions.create(model=MODEL, messages=user("go"), tools=tools, tool_choice="required")
    assert forced.choices[0].message.tool_calls[0].function.name == "weather"


def responses(client):
    answer = client.responses.create(model=MODEL, input="hello there", instructions="be brief")
    assert answer.output_text == "hello there" and answer.status == "completed", answer
    assert answer.usage.input_tokens == 4 and answer.usage.output_tokens == 2
    tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
    told = script(tool_calls=[{"name": "weather", "arguments": {"city": "Jena"}}])
    answer = client.responses.create(model=MODEL, input="weather?", instructions=told, tools=tools)
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Jena"}
    after = client.responses.create(
        model=MODEL,
        instructions=told,
        tools=tools,
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            call.model_dump(exclude_none=True),
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ],
    )
    assert after.output_text == "sunny"


def responses_stream(client):
    events = list(client.responses.create(model=MODEL, input="a b c", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed", kinds
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "a b c"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]
    told = script(tool_calls=[{"name": "weather", "arguments": {"city": "Jena"}}])
    with client.responses.stream(model=MODEL, input="weather?", instructions=told, tools=tools) as stream:
        final = stream.get_final_response()
    assert json.loads(final.output[0].arguments) == {"city": "Jena"}
    assert final.usage.total_tokens > 0


def embeddings(client):
    answer = client.embeddings.create(model=MODEL, input=["the cat sat", "the cat ran", "entirely different words"])
    vectors = [entry.embedding for entry in answer.data]
    floats = client.embeddings.create(model=MODEL, input="the cat sat", encoding_format="float", dimensions=256)
    assert all(abs(a - b) < 1e-6 for a, b in zip(vectors[0], floats.data[0].embedding, strict=True))
    assert all(abs(math.fsum(x * x for x in vector) - 1) < 1e-4 for vector in vectors)
    near, far = (math.fsum(a * b for a, b in zip(vectors[0], other)) for other in vectors[1:])
    assert near > far, (near, far)
    assert answer.usage.prompt_tokens == 9
    assert len(client.embeddings.create(model=MODEL, input=[[1, 2], [3]], dimensions=8).data[1].embedding) == 8


def transcriptions(client):
    sound = ("hello.wav", b"RIFF" + bytes(range(256)) * 8_000, "audio/wav")
    heard = client.audio.transcriptions.create(model=MODEL, file=sound, language="en")
    assert heard.text.endswith(" bytes") and int(heard.text.split()[0]) > 2_000_000, heard
    assert client.audio.translations.create(model=MODEL, file=sound).text.endswith(" bytes")


def realtime(client):
    with client.realtime.connect(model=MODEL) as connection:
        created = connection.recv()
        assert created.type == "session.created" and created.session.model == MODEL, created
        connection.session.update(session={"type": "realtime", "model": MODEL, "output_modalities": ["text"]})
        assert connection.recv().type == "session.updated"
        say = lambda text: connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        )
        say("a b c")
        connection.response.create()
        text = ""
        for event in connection:
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.done":
                break
        assert text == "a b c" and event.response.usage.output_tokens == 3, event
        connection.session.update(session={"type": "realtime", "model": "another"})
        refused = connection.recv()
        assert refused.type == "error" and refused.error.param == "session.model", refused
        say(script(close=4001))
        connection.response.create()
        try:
            while True:
                connection.recv()
        except websockets.exceptions.ConnectionClosed as closed:
            assert closed.rcvd.code == 4001, closed
    for model, status, code in [("nobody", 404, "model_not_found"), ("", 404, "model_not_found")]:
        try:
            client.realtime.connect(model=model).enter()
        except websockets.exceptions.InvalidStatus as error:
            answer = json.loads(error.response.body)["error"]
            assert (error.response.status_code, answer["code"]) == (status, code), error.response
        else:
            raise AssertionError(f"{model!r} was let in")


def models(client):
    listed = {model.id: model for model in client.models.list()}
    assert MODEL in listed and listed[MODEL].object == "model", listed
    assert client.models.retrieve(MODEL).id == MODEL


def failures(client):
    def raises(kind, status, call):
        try:
            call()
        except kind as error:
            assert error.status_code == status, error
            return error
        raise AssertionError(f"{kind.__name__} was not raised")

    once = client.with_options(max_retries=0)
    ask = lambda using, text: using.chat.completions.create(model=MODEL, messages=user(text))
    raises(openai.RateLimitError, 429, lambda: ask(once, script(fail=429, retry_after=1)))
    raises(openai.InternalServerError, 503, lambda: ask(once, script(fail=503)))
    raises(openai.BadRequestError, 400, lambda: ask(once, script(unknown=1)))
    raises(openai.BadRequestError, 400, lambda: once.chat.completions.create(model=MODEL, messages=[]))
    def told(error, code, param):
        assert (error.type, error.code, error.param) == ("invalid_request_error", code, param), error.body
        assert error.message and error.response.headers["x-trunkline-fault"].startswith("TL"), error.body

    # What the SDK would not send by itself: OpenAI's words for it, as typed exceptions.
    post = lambda path, body, kind="application/json": once.post(
        path, cast_to=object, content=body, options={"headers": {"content-type": kind}}
    )
    told(raises(openai.BadRequestError, 400, lambda: post("/chat/completions", b"{bad")), "bad_request", None)
    told(raises(openai.BadRequestError, 400, lambda: post("/chat/completions", b"")), "bad_request", None)
    for path in ["/chat/completions", "/embeddings", "/responses", "/audio/speech"]:
        missing = raises(openai.BadRequestError, 400, lambda: post(path, b"{}"))
        told(missing, "missing_required_parameter", "model")
    odd = raises(openai.BadRequestError, 400, lambda: post("/embeddings", b'{"model": 5}'))
    told(odd, "invalid_type", "model")
    two = b'{"model": "echo", "Model": "other"}'
    told(raises(openai.BadRequestError, 400, lambda: post("/embeddings", two)), "bad_request", None)
    nobody = raises(openai.NotFoundError, 404, lambda: once.chat.completions.create(model="nobody", messages=user("hi")))
    told(nobody, "model_not_found", "model")
    told(raises(openai.NotFoundError, 404, lambda: once.models.retrieve("nobody")), "model_not_found", "model")
    told(raises(openai.NotFoundError, 404, lambda: once.files.list()), "unknown_url", None)
    stranger = once.with_options(api_key="nobody holds this key")
    wrong = raises(openai.AuthenticationError, 401, lambda: ask(stranger, "hi"))
    assert wrong.code == "invalid_api_key" and wrong.response.headers["x-trunkline-fault"] == "TL0001"
    # The SDK tries again by itself, and the second time it passes.
    text = "passes " + str(time.time_ns())
    answer = ask(client.with_options(max_retries=2), text + script(fail=503, fail_times=1))
    assert answer.choices[0].message.content == text


def delays(client):
    began = time.monotonic()
    told = script(delay_ms=200, chunk_delay_ms=50)
    stream = client.chat.completions.create(model=MODEL, messages=user("a b c d " + told), stream=True)
    moments = [time.monotonic() - began for _ in stream]
    assert moments[0] >= 0.2, moments
    assert moments[-1] - moments[0] >= 0.2, "the pieces come one by one: " + str(moments)
    try:
        client.with_options(max_retries=0, timeout=0.3).chat.completions.create(model="echo-slow", messages=user("x"))
    except openai.APITimeoutError:
        return
    raise AssertionError("echo-slow was not slow")


async def together(base_url, key):
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key) as client:
        ask = lambda n: client.chat.completions.create(model=MODEL, messages=user(f"question {n}"))
        answers = await asyncio.gather(*(ask(n) for n in range(50)))
    assert [a.choices[0].message.content for a in answers] == [f"question {n}" for n in range(50)]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    base_url, key = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key=key)
    parts = [chat, chat_stream, chat_tools, responses, responses_stream, embeddings, transcriptions, realtime, models]
    parts += [failures, delays]
    for part in parts:
        part(client)
        print(f"{part.__name__}: ok")
    asyncio.run(together(base_url, key))
    print("together: ok")


main()
