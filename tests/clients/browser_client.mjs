// Acts the stories of many visitors with analytics.js, each in a browser context of its own, all at once.
// stdin, one line: {"chromium", "page", "host", "writeKey", "stories": [[{"method", "pause_ms", …}]]}
// Prints a line when all calls were made: {"elsewhere": [the addresses of other hosts that the pages asked for]}.
// Closes the browser when stdin ends.
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

const OWN = '127.0.0.1'
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const told = JSON.parse((await lines.next()).value)
const args = ['--no-sandbox', `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${OWN}`]
const browser = await chromium.launch({ executablePath: told.chromium, args })
const elsewhere = []

async function visit(calls) {
  const page = await (await browser.newContext()).newPage()
  page.on('pageerror', (error) => console.error('error of the page:', error))
  page.on('request', (request) => {
    if (new URL(request.url()).hostname !== OWN) elsewhere.push(request.url())
  })
  await page.goto(`${told.page}?${new URLSearchParams({ host: told.host, writeKey: told.writeKey })}`)
  await page.waitForFunction(() => window.analytics?.initialized)
  return { page, calls }
}

function act(calls) {
  const analytics = window.analytics
  analytics.setAnonymousId(calls[0].anonymousId)
  const methods = {
    page: ({ name, properties }) => analytics.page(name, properties),
    track: ({ event, properties, context }) => analytics.track(event, properties, { context }),
    identify: ({ userId, traits }) => analytics.identify(userId, traits),
    alias: ({ userId, previousId }) => analytics.alias(userId, previousId),
  }
  return calls.reduce(async (before, call) => {
    await before
    if (call.pause_ms > 0) await new Promise((wake) => setTimeout(wake, call.pause_ms))
    methods[call.method](call)
  }, Promise.resolve())
}

const visits = []
for (const calls of told.stories) visits.push(await visit(calls))
await Promise.all(visits.map(({ page, calls }) => page.evaluate(act, calls)))
console.log(JSON.stringify({ elsewhere }))
await lines.next()
await browser.close()
