// Acts the stories of many people with @segment/analytics-node, all at once.
// stdin: {"host", "writeKey", "stories": [[{"method", "pause_ms", …members of the event}]]}
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Analytics } from '@segment/analytics-node'

const { host, writeKey, stories } = JSON.parse(readFileSync(0, 'utf8'))
const analytics = new Analytics({ host, writeKey, flushAt: 10, flushInterval: 500 })
analytics.on('error', (error) => console.error('error of the client:', error))

async function act(calls) {
  for (const { method, pause_ms, ...event } of calls) {
    if (pause_ms > 0) await sleep(pause_ms)
    analytics[method](event)
  }
}

await Promise.all(stories.map(act))
await analytics.closeAndFlush()
