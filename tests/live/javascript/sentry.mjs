// Reports an exception and a message with Sentry's client on its default settings, traced.
// Arguments: the DSN. Prints what the server answered to each event.

import * as Sentry from "@sentry/node";

const [dsn] = process.argv.slice(2);
const client = Sentry.init({ dsn, release: "web-js@1.4.2", environment: "staging", tracesSampleRate: 1 });
client.on("afterSendEvent", (event, answer) =>
  console.log(JSON.stringify({ event: event.event_id, type: event.type ?? "error", status: answer.statusCode })));
Sentry.setTag("service", "web-js");
Sentry.startSpan({ name: "checkout", op: "task" }, () => {
  try {
    throw new TypeError("cart of ann@example.org is empty");
  } catch (error) {
    console.log(JSON.stringify({ exception: Sentry.captureException(error) }));
  }
});
console.log(JSON.stringify({ message: Sentry.captureMessage("stock is low", "error") }));
console.log(JSON.stringify({ flushed: await Sentry.close(10000) }));
