#!/usr/bin/env python3
"""The module echo of docs/modules.md in Python, with nothing but the standard library.

It promises that the block's extra data holds the words of the request. The
sidecar asks it five questions over HTTP; it answers each from the page it is
shown. It prints the events that it is told, and keeps no state but the number of
the last one, in the file that ECHO_EVENTS_FILE names.
"""

import hmac
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPE = 0xEC40  # of commitments and constraints; the payload is the words
VERSION = 1
MAX_BODY = 64 << 20  # bytes


class Refusal(Exception):
    """An answer other than 200: a status, a reason by name, a sentence."""

    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status, self.reason = status, reason


def unhex(text):
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError("hexadecimal without 0x")
    return bytes.fromhex(text[2:])


def info(ask):
    if VERSION not in ask["versions"]:
        raise Refusal(400, "module_version_unknown", f"only version {VERSION} is spoken")
    return {"version": VERSION, "id": MODULE_ID, "commitment_types": [TYPE], "constraint_types": [TYPE]}


def slot(ask):
    unhex(ask["request"]["payload"])
    return {"slot": 0}  # any of the sidecar's


def commit(ask):
    request = ask["request"]
    words = unhex(request["payload"])
    if not 4 <= len(words) <= 32:
        raise Refusal(400, "echo_words", f"{len(words)} bytes, want 4 to 32")
    return {
        "commitment": {
            "commitment_type": TYPE,
            "payload": request["payload"],
            "request_hash": ask["request_hash"],
            "slasher": request["slasher"],
        },
        "constraints": [{"constraint_type": TYPE, "payload": request["payload"]}],
        "cost": {"gas": 0, "blobs": 0, "bytes": 0},
        "touches": [],
        "claims": ["extra_data"],  # a block has room for one promise
    }


def verify(ask):
    header = ask["candidate"].get("header")
    for promise in ask["page"]["promises"]:
        words = unhex(promise["commitment"]["payload"])
        if header is None or words not in unhex(header["extra_data"]):
            raise Refusal(422, "echo_silent", "the bid's extra data does not hold the promised words")
    return {}


def audit(ask):
    block = ask["block"]
    verdicts = []
    for promise in ask["page"]["promises"]:
        outcome, reason = "kept", ""
        if block["missed"]:
            outcome, reason = "excused", "slot_missed"
        elif unhex(promise["commitment"]["payload"]) not in unhex(block["header_rlp"]):
            outcome, reason = "broken", "silent"
        verdicts.append({"request_hash": promise["commitment"]["request_hash"], "outcome": outcome, "reason": reason})
    return {"verdicts": verdicts}


class Heard:
    """The number of the last event dealt with. What is in the file is not told again; what is not, is."""

    def __init__(self, path):
        self.path, self.lock, self.last = path, threading.Lock(), 0
        if path and os.path.exists(path):
            with open(path, encoding="ascii") as f:
                self.last = int(f.read())

    def keep(self, last):
        if self.path:
            with open(self.path + ".new", "w", encoding="ascii") as f:
                f.write(str(last))
                f.flush()
                os.fsync(f.fileno())
            os.replace(self.path + ".new", self.path)
        self.last = last


def events(ask):
    new = [(int(e["seq"]), f"{e['kind']} slot {e['slot']}") for e in ask["events"]]
    with HEARD.lock:
        if ask.get("unknown"):  # the sidecar's numbers begin anew
            HEARD.keep(0)
        elif ask["after"] <= HEARD.last:  # else some are left out: say where to begin
            for seq, text in new:
                if seq > HEARD.last:
                    print("event", seq, text, flush=True)
                    HEARD.keep(seq)
        return {"after": HEARD.last}


ANSWERS = {f"/module/v1/{f.__name__}": f for f in (info, slot, commit, verify, audit, events)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    timeout = 120  # seconds a connection may be idle
    wbufsize = -1  # header and body leave in one packet
    disable_nagle_algorithm = True

    def do_POST(self):
        try:
            status, out = 200, self.answer()
        except Refusal as no:
            status, out = no.status, {"code": no.status, "message": str(no), "reason": no.reason}
        except (ValueError, TypeError, KeyError, AttributeError) as bad:  # not what the schema says
            status, out = 400, {"code": 400, "message": str(bad), "reason": "module_ask_invalid"}
        self.say(status, out)

    def do_GET(self):
        self.close_connection = True
        self.say(405, {"code": 405, "message": "POST", "reason": "method_not_allowed"})

    def answer(self):
        """Checks the caller first, and reads its body only then."""
        given = self.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, b"Bearer " + SECRET):
            self.close_connection = True
            raise Refusal(401, "module_caller_refused", "the secret is another")
        length = int(self.headers.get("Content-Length", "-1"))
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True
            raise Refusal(400, "module_ask_invalid", "no body, or too large a one")
        body = self.rfile.read(length)
        if self.path not in ANSWERS:
            raise Refusal(404, "not_found", "no such path")
        if self.headers.get_content_type() != "application/json":
            raise Refusal(415, "module_ask_media_type", "application/json is taken")
        return ANSWERS[self.path](json.loads(body))

    def say(self, status, out):
        text = json.dumps(out).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass  # a line per question is too much


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main():
    host, _, port = os.environ["CB_MODULE_LISTEN"].rpartition(":")
    server = Server((host.strip("[]"), int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving on", os.environ["CB_MODULE_LISTEN"], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    try:
        MODULE_ID = os.environ["CB_MODULE_ID"]
        with open(os.environ["CB_MODULE_SECRET_FILE"], "rb") as f:
            SECRET = f.read().strip()
        if len(SECRET) < 16:
            sys.exit("the secret has fewer than 16 characters")
        HEARD = Heard(os.environ.get("ECHO_EVENTS_FILE"))
        main()
    except KeyError as missing:
        sys.exit(f"set {missing}, or let the sidecar start this program")
