// Sends a trace of two spans with the OTLP/JSON exporter on its default settings.
// Arguments: the address of the receiver, the ingest key. Prints what the SDK warns of.

import { SpanKind, diag, context, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";

const [url, key] = process.argv.slice(2);
const warn = (...words) => console.log(JSON.stringify({ warning: words.map(String).join(" ") }));
const silent = () => {};
diag.setLogger({ error: warn, warn, info: silent, debug: silent, verbose: silent });

const exporter = new OTLPTraceExporter({
  url: `${url}/v1/traces`,
  headers: { authorization: `Bearer ${key}` },
});
const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ "service.name": "web-js", "service.version": "1.4.2" }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
const tracer = provider.getTracer("test");
const route = tracer.startSpan("GET /orders/:id", {
  kind: SpanKind.SERVER,
  attributes: {
    "http.request.method": "GET",
    "http.route": "/orders/:id",
    "http.response.status_code": 200,
    "session.id": "s-1",
    weight: 0.5,
    flags: [true, false],
  },
});
const within = trace.setSpan(context.active(), route);
tracer
  .startSpan("SELECT orders", {
    kind: SpanKind.CLIENT,
    attributes: { "db.system.name": "postgresql", "db.collection.name": "orders", "db.operation.name": "SELECT" },
  }, within)
  .end();
route.end();
await provider.forceFlush();
await provider.shutdown();
console.log(JSON.stringify({ trace: route.spanContext().traceId, span: route.spanContext().spanId }));
