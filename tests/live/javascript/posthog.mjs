// Captures events with PostHog's client on its default settings.
// Arguments: the address of the receiver, the ingest key. Prints the client's errors.

import { PostHog } from "posthog-node";

const [host, key] = process.argv.slice(2);
const client = new PostHog(key, { host });
client.on("error", (error) => console.log(JSON.stringify({ warning: String(error) })));
client.capture({
  distinctId: "ann@example.org",
  event: "order placed",
  properties: { feature: "checkout", $session_id: "s-1", service: "web-js", release: "1.4.2" },
});
client.identify({ distinctId: "ann@example.org", properties: { email: "ann@example.org" } });
client.groupIdentify({ groupType: "company", groupKey: "acme" });
client.capture({ distinctId: "bob", event: "$pageview", properties: { $current_url: "https://shop.example/orders/42?token=abc" } });
await client.shutdown();
