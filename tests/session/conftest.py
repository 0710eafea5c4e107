"""The model server for everything below this directory."""

from tests.model_server import model_server as model_server
