"""Asks the database who it is, with the user and password that it was started with."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg


class Answer(BaseHTTPRequestHandler):
    """The user whom the database knows, and how many orders it may see; 503 when refused."""

    def do_GET(self) -> None:
        try:
            with psycopg.connect(
                host=os.environ["HOST"],
                dbname=os.environ["DATABASE"],
                user=os.environ["DB_USER"],
                password=os.environ["DB_PASSWORD"],
                connect_timeout=3,
            ) as connection:
                row = connection.execute(
                    "SELECT current_user, count(*) FROM lab04_orders"
                ).fetchone()
            status, text = 200, " ".join(str(value) for value in row or ())
        except psycopg.Error as error:
            status, text = 503, str(error).strip()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())

    def log_message(self, *_: object) -> None:
        """Probes come every second: no line for each."""


ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()  # noqa: S104 # in a pod
