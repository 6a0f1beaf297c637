"""An MCP server on stdio with very many tools, for tests of what lists cost. Nothing but the standard library."""

import json
import sys

TOOLS = [
    {"name": f"tool_{place:04}", "description": "x" * 1500, "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    for place in range(int(sys.argv[1]))
]

for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answers = {
        "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "many", "version": "1"}},
        "tools/list": {"tools": TOOLS},
        "ping": {},
    }
    result = answers.get(asked["method"])
    answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "not here"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)
