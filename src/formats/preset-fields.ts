/** Names of the fields in built-in formats whose objects have no header, as the services' guides document them. */

const names = (text: string): readonly string[] => text.trim().split(/\s+/)

/** https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, the default format (version 2) */
export const flowFields = names(
  'version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status',
)

/** https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#access-log-entry-syntax */
export const albFields = names(`
  type time elb client:port target:port request_processing_time target_processing_time response_processing_time
  elb_status_code target_status_code received_bytes sent_bytes request user_agent ssl_cipher ssl_protocol
  target_group_arn trace_id domain_name chosen_cert_arn matched_rule_priority request_creation_time actions_executed
  redirect_url error_reason target:port_list target_status_code_list classification classification_reason conn_trace_id
  transformed_host transformed_uri request_transform_status`)

/** https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html#access-log-entry-format */
export const nlbFields = names(`
  type version time elb listener client:port destination:port connection_time tls_handshake_time received_bytes
  sent_bytes incoming_tls_alert chosen_cert_arn chosen_cert_serial tls_cipher tls_protocol_version tls_named_group
  domain_name alpn_fe_protocol alpn_be_protocol alpn_client_preference_list tls_connection_creation_time`)

/** https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html#access-log-entry-format */
export const clbFields = names(`
  time elb client:port backend:port request_processing_time backend_processing_time response_processing_time
  elb_status_code backend_status_code received_bytes sent_bytes request user_agent ssl_cipher ssl_protocol`)

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html, whose titles are written here without blanks and capitals. */
export const s3Fields = names(`
  bucket_owner bucket time remote_ip requester request_id operation key request_uri http_status error_code bytes_sent
  object_size total_time turn_around_time referer user_agent version_id host_id signature_version cipher_suite
  authentication_type host_header tls_version access_point_arn acl_required source_region`)

/** https://docs.umbrella.com/umbrella-user-guide/docs/dns-log-formats, as its optional header line names them. */
const umbrellaDnsFields: readonly string[] = [
  'Timestamp',
  'Most Granular Identity',
  'Identities',
  'Internal IP',
  'External IP',
  'Action',
  'Query Type',
  'Response Code',
  'Domain',
  'Categories',
  'Most Granular Identity Type',
  'Identity Types',
  'Blocked Categories',
  'Rule ID',
  'Destination Countries',
  'Organization ID',
]

/** Umbrella writes logs of several kinds under like names; those of DNS queries have a type like `1 (A)` in their seventh field. */
export function umbrellaFields(line: string): readonly string[] | undefined {
  return /^(?:"(?:[^"]|"")*",){6}"\d+ \([^"]*\)",/.test(line) ? umbrellaDnsFields : undefined
}

/**
 * The combined format, with nginx's names for what both servers write.
 * https://nginx.org/en/docs/http/ngx_http_log_module.html, https://httpd.apache.org/docs/2.4/logs.html#combined
 */
const combinedFields = names(
  'remote_addr remote_logname remote_user time_local request status body_bytes_sent http_referer http_user_agent',
)

/** Apache's vhost_combined has the virtual host and its port before everything else. */
const vhostCombinedFields = ['virtual_host', ...combinedFields]

export function accessFields(line: string): readonly string[] | undefined {
  return /^\S+:\d+ \S+ - \S+ \[/.test(line) ? vhostCombinedFields : combinedFields
}
