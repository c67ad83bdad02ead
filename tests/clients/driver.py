"""What both Python drivers share: the command line, the one JSON line on stdout, and the time limit."""

import argparse
import asyncio
import json
import os
import sys


def command_line():
    """`--url URL [--header 'Name: value']...` or `--stdio [--env K=V]... -- COMMAND ARGS...`; see README.md."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--url")
    place.add_argument("--stdio", action="store_true")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--call")
    parser.add_argument("--args", type=json.loads, default={})
    parser.add_argument("--timeout", type=float, default=20)
    parser.add_argument("--client", type=json.loads)
    parser.add_argument("--again")
    parser.add_argument("--pause")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if options.stdio and not options.command:
        parser.error("--stdio needs -- COMMAND")
    options.header = dict(map(str.strip, text.split(":", 1)) for text in options.header)
    options.env = dict(text.split("=", 1) for text in options.env)
    return options


def innermost(error):
    """The cause that a task group, or a wrapper's `raise ... from`, hides."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None and getattr(error, "code", None) is None:
            error = error.__cause__
        else:
            return error


def describe(stage, error):
    """A client's error as the report shows it: only what the client itself exposes."""
    error = innermost(error)
    response = getattr(error, "response", None)
    # Version 1 of `mcp` keeps the JSON-RPC error inside.
    told = getattr(error, "error", error)
    return {
        "stage": stage,
        "kind": type(error).__name__,
        "status": getattr(response, "status_code", None),
        "code": getattr(told, "code", None),
        "message": str(error),
        "data": getattr(told, "data", None),
        "scope": None,
    }


async def pause(file):
    """Says by a file that the tools are listed, and waits until `file` is there."""
    if file is None:
        return
    open(f"{file}.{os.getpid()}", "w").close()
    while not os.path.exists(file):
        await asyncio.sleep(0.05)


def drive(client, options, open_client, call_tool):
    """Connects, lists, calls, parts, and prints the report as one line."""
    report = {"client": client, "protocol": None, "listed": None, "called": None, "again": None, "error": None}
    stage = "connect"

    async def work():
        nonlocal stage
        async with open_client(options) as session:
            report["protocol"] = session.protocol_version
            stage = "list"
            tools = await session.list_tools()
            report["listed"] = [tool.name for tool in getattr(tools, "tools", tools)]
            await pause(options.pause)
            if options.call:
                stage = "call"
                report["again"] = False if options.again else None
                try:
                    result = await call_tool(session, options.call, options.args)
                    report["called"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                except Exception as error:
                    if not options.again:
                        raise
                    report["error"] = describe(stage, error)
            if options.again:
                report["again"] = False
                await session.list_tools()
                report["again"] = True

    async def bounded():
        try:
            await asyncio.wait_for(work(), options.timeout)
        except TimeoutError:
            message = f"no answer within {options.timeout:g} s"
            report["error"] = report["error"] or describe(stage, TimeoutError(message)) | {"kind": "Timeout"}
        except Exception as error:
            report["error"] = report["error"] or describe(stage, error)

    asyncio.run(bounded())
    print(json.dumps(report, ensure_ascii=False), flush=True)
    # Worker threads that a library left behind must not hold the process.
    sys.stderr.flush()
    os._exit(0)
