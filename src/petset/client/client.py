"""The one way to the API for everybody but the server: verbs over a transport, in process or over HTTPS."""
