"""Route 53 on one machine: a hosted zone, its health checkers and the name server that answers from both.

::

    HealthChecks ── probes ──► load balancer nodes          DnsServer ◄── queries ── edge, clients, CLI
         └─ on_change ─► DnsServer.refresh ─► Responder ─► zone.decide(zone, query, healthy)
"""
