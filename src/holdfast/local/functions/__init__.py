"""The functions stand-in: what AWS Lambda does for a request, on one machine.

::

    zone Envoys ──HTTP──► front ──Runtime API──► environment   python -m awslambdaric, the user's own program
    (API Gateway)          │  one loopback port per environment
                           └── control socket ◄──► whoever starts processes

One front a region. It turns a request into the event of a Lambda proxy integration, hands it to an
environment that serves one request at a time, and turns the function's answer back into HTTP. It never starts
a process: it asks for environments on the control socket. All decisions are in ``scheduler``, which is pure.
"""
