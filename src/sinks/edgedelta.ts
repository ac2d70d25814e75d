import * as z from 'zod'
import { httpFields } from './http.ts'

export const edgedeltaConfig = z.strictObject({ type: z.literal('edgedelta'), ...httpFields })
