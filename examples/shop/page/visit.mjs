// Somebody looks at pages of the shop, with PostHog's client for browsers on its default settings:
// node visit.mjs HOST BROWSER_KEY PATH...
import { PostHog } from 'posthog-js-lite'

const [host, key, ...paths] = process.argv.slice(2)
// A page keeps its visitor in the browser's storage, which Node.js does not have.
const page = new PostHog(key, { host, persistence: 'memory' })
for (const path of paths) {
  page.capture('$pageview', { $current_url: `https://shop.example${path}`, $pathname: path })
}
await page.shutdown()
