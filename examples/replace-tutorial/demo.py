"""Shows everything once: `python3 demo.py URL`, with the passwords of the four users in variables such as `ADMIN`."""

import asyncio
import os
import sys

from notes_client import NotesClient, login_with_password


def say(who, what, answer):
    print(f"{who:<12} {what:<28} {answer}")


async def denied(call):
    """The reason why a call is denied."""
    try:
        await call
    except Exception as error:  # a denial before the tool is an error of the protocol
        return f"denied: {error}"
    raise SystemExit("this should have been denied")


async def main(url):
    async with NotesClient(url) as nobody:
        say("nobody", "the tools", await nobody.tools())
        say("nobody", "authenticate_user", (await nobody.call("authenticate_user"))["login_url"])
        say("nobody", "get_user_profile", await denied(nobody.get_user_profile()))

    async with login_with_password(url, "testuser", os.environ["TESTUSER"]) as user:
        await user.create_secure_note("plan", "Buy bread")
        say("testuser", "the tools", await user.tools())
        say("testuser", "get_user_profile", await user.get_user_profile())
        say("testuser", "user://profile", (await user.read("user://profile"))["name"])
        say("testuser", "list_notes", await user.call("list_notes"))
        say("testuser", "list_audit_events", await denied(user.call("list_audit_events")))
        say("testuser", "a scope of others", await denied(user.create_api_key("all", ["admin"])))
        key = await user.create_api_key("reader", ["notes:read"])
        async with NotesClient(url, key=key) as program:
            say("the key", "list_notes", await program.call("list_notes"))
            say("the key", "create_secure_note", await denied(program.create_secure_note("x", "y")))
        async with NotesClient(url) as program:
            answer = await program.call("authenticate_with_api_key", api_key=key)
            say("the key", "authenticate_with_api_key", answer["name"])
        say("testuser", "logout", await user.call("logout"))

    async with login_with_password(url, "readonly", os.environ["READONLY"]) as reader:
        say("readonly", "list_notes", await reader.call("list_notes"))
        say("readonly", "create_secure_note", await denied(reader.create_secure_note("x", "y")))

    async with login_with_password(url, "admin", os.environ["ADMIN"]) as admin:
        events = (await admin.call("list_audit_events", outcome="denied", limit=5))["events"]
        say("admin", "list_audit_events", f"{len(events)} denials")
        say("admin", "get_security_summary", (await admin.call("get_security_summary"))["accounts"])
        say("admin", "security://summary", (await admin.read("security://summary"))["outcomes"])
        say("admin", "a new key", len(await admin.create_api_key("demo", [])))


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8787/mcp"))
