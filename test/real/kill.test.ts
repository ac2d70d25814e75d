/** The crash test of the default suite, with as many kills as a promise is worth. */
process.env.S3_STREAMER_KILLS = '100'
await import('../crash/kill.test.ts')
