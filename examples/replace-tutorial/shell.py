"""An interactive client: `python3 shell.py [URL]`. It opens the login in the browser."""

import asyncio
import sys

from notes_client import Browser, NotesClient, Script

HELP = """login                       log in with the browser
login NAME PASSWORD         log in without a browser
profile                     who you are
note TITLE CONTENT          keep a note
notes                       list your notes
apikey NAME [SCOPE…]        make a key
logout                      end the login
quit"""


async def act(notes, words):
    match words:
        case ["profile"]:
            return await notes.get_user_profile()
        case ["note", title, *content]:
            return await notes.create_secure_note(title, " ".join(content))
        case ["notes"]:
            return await notes.call("list_notes")
        case ["apikey", name, *scopes]:
            return await notes.create_api_key(name, scopes)
        case ["logout"]:
            return await notes.call("logout")
        case _:
            return HELP


async def converse(url, person, words):
    """Talks as one person, or as nobody. Returns who talks next, and whether anybody does."""
    async with NotesClient(url, person) as notes:
        while True:
            try:
                print(await act(notes, words), flush=True)
            except Exception as error:  # a denial before the tool is an error of the protocol
                print(f"That failed: {error}", flush=True)
            words = (await asyncio.to_thread(sys.stdin.readline) or "quit").split()
            match words:
                case ["quit"]:
                    return None, False
                case ["login"]:
                    return Browser(), True
                case ["login", name, password]:
                    return Script(name, password), True


async def main(url):
    person, goes_on, words = None, True, ["help"]
    while goes_on:
        person, goes_on = await converse(url, person, words)
        words = ["profile"]


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8787/mcp"))
