#!/usr/bin/env python3
"""A small MCP server with one tool, vm_stop {identifier}, that stops nothing.

It writes down every line that reaches it, so that a test can prove which calls
a proxy let through. `exit` as a tool name makes it end with status 7. Three
identifiers make it tell of a failure, each in another way. It does not answer a
call for `hangs`, and one for `late` only once it is cancelled, nor does it answer
for another page of its list.
"""

import json
import sys

seen = open(sys.argv[1], "a", encoding="utf-8")
late = None

for line in sys.stdin:
    seen.write(line)
    seen.flush()
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "vm-stop-test-server", "version": "1"},
        }
    elif method == "tools/list" and "cursor" in message.get("params", {}):
        continue
    elif method == "tools/list":
        schema = {
            "type": "object",
            "properties": {"identifier": {"type": "string"}},
            "required": ["identifier"],
        }
        tool = {"name": "vm_stop", "description": "Stop a running VM instance"}
        result = {"tools": [tool | {"inputSchema": schema}]}
    elif method == "tools/call":
        if message["params"]["name"] == "exit":
            sys.exit(7)
        identifier = message["params"]["arguments"]["identifier"]
        if identifier in ("hangs", "late"):
            late = message["id"] if identifier == "late" else late
            continue
        if identifier == "json-error":
            error = {"code": -32603, "message": "it failed"}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
            continue
        failure = json.dumps({"success": False, "error": "it failed"})
        text = failure if identifier == "says-false" else "stopped " + identifier
        is_error = identifier == "is-error"
        result = {"content": [{"type": "text", "text": text}], "isError": is_error}
    elif method == "notifications/cancelled" and message["params"]["requestId"] == late:
        message["id"] = late
        result = {"content": [{"type": "text", "text": "stopped late"}]}
    elif "id" in message:
        result = {}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
