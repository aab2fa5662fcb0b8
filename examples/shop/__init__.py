"""A small shop of four processes, instrumented with the official OpenTelemetry packages.

Nothing in this folder imports the platform: the shop knows an OTLP address from its environment and
no more, as any system would. The instrumentation comes from the ``opentelemetry-instrument``
launcher, so the code of the shop doesn't mention telemetry either.

    storefront --HTTP--> catalogue                    (reads products)
    storefront --HTTP--> orders --HTTP--> catalogue
                         orders --queue--> fulfilment (writes shipments, stock)
                         orders <--HTTP--- fulfilment
"""
