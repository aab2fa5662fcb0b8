"""A small shop of four processes, instrumented with the official OpenTelemetry packages.

Nothing in this folder imports the platform: the shop knows the addresses of its telemetry from its
environment and no more, as any system would. Traces come from the ``opentelemetry-instrument``
launcher, so the code of the shop doesn't mention them; product events and errors are told through
the clients of PostHog and Sentry, in ``product.py``.

    storefront --HTTP--> catalogue                    (reads products)
    storefront --HTTP--> orders --HTTP--> catalogue
                         orders --queue--> fulfilment (writes shipments, stock)
                         orders <--HTTP--- fulfilment
"""
