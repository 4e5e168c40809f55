"""The peer: what rustcorn's handler hello answers, by Flask, observed by OpenTelemetry's own instrumentation."""

from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor

app = Flask(__name__)
FlaskInstrumentor().instrument_app(app)


@app.get("/")
def hello():
    return "Hello World!", {"Content-Type": "text/plain; charset=utf-8"}
