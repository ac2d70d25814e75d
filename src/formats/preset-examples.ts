/** For each built-in format an object as it is found in buckets: its key, its first lines and its times. Used by tests and docs. */
export interface PresetExample {
  readonly format: string
  readonly key: string
  readonly lines: readonly string[]
  /** Time the key tells; undefined if keys of this format tell none. */
  readonly keyTime: string | undefined
  /** Time of the first record that has one; undefined if records of this format tell none. */
  readonly contentTime: string | undefined
}

const flow =
  '2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1705312800 1705312860 ACCEPT OK'
const aws = (service: string) => `AWSLogs/123456789012/${service}/us-east-1/2024/01/15/`

export const presetExamples: readonly PresetExample[] = [
  {
    format: 'zscaler',
    key: '_weblog/feedname=Threat Team - Web/year=2025/month=10/day=12/1760305292_56442_130_1.gz',
    lines: [
      '{"sourcetype":"zscalernss-web","event":{"datetime":"2025-10-12 21:41:30","action":"Allowed","url":"example.com/"}}',
    ],
    keyTime: '2025-10-12T21:41:32.000Z',
    contentTime: '2025-10-12T21:41:30.000Z',
  },
  {
    format: 'cisco_umbrella',
    key: 'dnslogs/2024-01-15/2024-01-15-10-00-ab12.csv.gz',
    lines: [
      '"Timestamp","Policy Identity","Identities","Internal IP","External IP","Action","Query Type","Response Code","Domain","Categories"',
      '"2024-01-15 10:01:05","laptop","laptop,Site 1","10.1.2.3","203.0.113.9","Allowed","1 (A)","NOERROR","example.com.","News"',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:01:05.000Z',
  },
  {
    format: 'cloudtrail',
    key: `${aws('CloudTrail')}123456789012_CloudTrail_us-east-1_20240115T1000Z_AbCdEf0123456789.json.gz`,
    lines: [
      '{"Records":[{"eventVersion":"1.08","userIdentity":{"type":"IAMUser"},"eventTime":"2024-01-15T09:58:12Z","eventSource":"s3.amazonaws.com","eventName":"GetObject"}]}',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T09:58:12.000Z',
  },
  {
    format: 'guardduty',
    key: `${aws('GuardDuty')}0d1e2f3a-4b5c-6d7e-8f90-a1b2c3d4e5f6.jsonl.gz`,
    lines: [
      '{"schemaVersion":"2.0","accountId":"123456789012","region":"us-east-1","id":"aa11","type":"Recon:EC2/Portscan","service":{"serviceName":"guardduty","detectorId":"bb22"},"severity":5,"createdAt":"2024-01-15T10:00:00.000Z","updatedAt":"2024-01-15T10:05:00.000Z"}',
    ],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'aws_waf',
    key: 'AWSLogs/123456789012/WAFLogs/us-east-1/TEST-WEB_ACL/2024/01/15/10/00/123456789012_waflogs_us-east-1_TEST-WEB_ACL_20240115T1000Z_e0ca43b5.log.gz',
    lines: [
      '{"timestamp":1705312801123,"formatVersion":1,"webaclId":"arn:aws:wafv2:us-east-1:123456789012:regional/webacl/TEST/1","terminatingRuleId":"Default_Action","action":"ALLOW"}',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:01.123Z',
  },
  {
    format: 'route53_resolver',
    key: 'AWSLogs/123456789012/vpcdnsquerylogs/vpc-0a1b2c3d/2024/01/15/vpc-0a1b2c3d_vpcdnsquerylogs_123456789012_20240115T1000Z_04ab5c6d.log.gz',
    lines: [
      '{"version":"1.100000","account_id":"123456789012","region":"us-east-1","vpc_id":"vpc-0a1b2c3d","query_timestamp":"2024-01-15T10:00:02Z","query_name":"example.com.","query_type":"A","rcode":"NOERROR"}',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:02.000Z',
  },
  {
    format: 'lambda',
    key: '2024/01/15/10/20240115-100000.json.gz',
    lines: ['{"timestamp":"2024-01-15T10:00:00.250Z","level":"INFO","requestId":"8a9b","message":"START"}'],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:00.250Z',
  },
  {
    format: 'vpc_flow',
    key: `${aws('vpcflowlogs')}123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20240115T1000Z_fe123456.log.gz`,
    lines: [
      'version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status',
      flow,
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'vpc_flow_header',
    key: `${aws('vpcflowlogs')}123456789012_vpcflowlogs_us-east-1_fl-5678abcd_20240115T1005Z_ab123456.log.gz`,
    lines: [
      'vpc-id srcaddr dstaddr bytes start end tcp-flags flow-direction',
      'vpc-abcdefab012345678 10.0.0.62 52.213.180.42 1500000000 1705312920 1705312980 19 ingress',
    ],
    keyTime: '2024-01-15T10:05:00.000Z',
    contentTime: undefined,
  },
  {
    format: 'alb_access',
    key: `${aws('elasticloadbalancing')}123456789012_elasticloadbalancing_us-east-1_app.my-loadbalancer.1234567890abcdef_20240115T1000Z_172.160.1.192_20sg8hgm.log.gz`,
    lines: [
      'https 2024-01-15T09:59:01.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T09:59:01.186Z',
  },
  {
    format: 'nlb_access',
    key: `${aws('elasticloadbalancing')}123456789012_elasticloadbalancing_us-east-1_net.my-loadbalancer.1234567890abcdef_20240115T1000Z_ab12cd34.log.gz`,
    lines: [
      'tls 2.0 2024-01-15T09:59:40 net/my-network-loadbalancer/c6e77e28c25b2234 g3d4b5e8bb8464cd 72.21.218.154:51341 172.100.100.185:443 5 2 98 246 - arn:aws:acm:us-east-1:123456789012:certificate/2a108f19 - ECDHE-RSA-AES128-SHA tlsv12 - my.example.com h2 - "h2","http/1.1" 2024-01-15T09:59:40',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T09:59:40.000Z',
  },
  {
    format: 'elb_access',
    key: `${aws('elasticloadbalancing')}123456789012_elasticloadbalancing_us-east-1_my-loadbalancer_20240115T1000Z_172.160.1.192_20sg8hgm.log`,
    lines: [
      '2024-01-15T10:00:00.123456Z elb-name 1.2.3.4:12345 5.6.7.8:80 0.000 0.001 0.000 200 200 123 456 "GET /path HTTP/1.1"',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:00.123Z',
  },
  {
    format: 'cloudfront',
    key: 'cdn/EMLARXS9EXAMPLE.2024-01-15-10.RT4KCN4SGK9.gz',
    lines: [
      '#Version: 1.0',
      '#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status',
      '2024-01-15\t10:00:03\tSEA19-C1\t1045619\t192.0.2.183\tGET\td111111abcdef8.cloudfront.net\t/view\t200',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:03.000Z',
  },
  {
    format: 's3_access',
    key: 'access-logs/2024-01-15-10-21-32-E568B2907131C0C0',
    lines: [
      '79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be mybucket [15/Jan/2024:10:00:04 +0000] 192.0.2.3 79a59df9 3E57427F3EXAMPLE REST.GET.OBJECT key "GET /mybucket/key HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" -',
    ],
    keyTime: '2024-01-15T10:21:32.000Z',
    contentTime: '2024-01-15T10:00:04.000Z',
  },
  {
    format: 'rds_mysql_slow',
    key: 'prod/db1/slowquery/mysql-slowquery.log.2024-01-15.10.gz',
    lines: [
      '/rdsdbbin/mysql/bin/mysqld, Version: 8.0.35 (Source distribution). started with:',
      'Tcp port: 3306  Unix socket: /tmp/mysql.sock',
      'Time                 Id Command    Argument',
      '# Time: 2024-01-15T10:00:05.250000Z',
      '# User@Host: user[host] @  [1.2.3.4]  Id:    42',
      '# Query_time: 5.000000  Lock_time: 0.000000 Rows_sent: 1  Rows_examined: 1',
      'SET timestamp=1705312800;',
      'SELECT * FROM table;',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:05.250Z',
  },
  {
    format: 'rds_postgres',
    key: 'prod/db2/error/postgresql.log.2024-01-15-1000.gz',
    lines: [
      '2024-01-15 10:00:06 UTC:1.2.3.4(54321):user@db:[12345]:LOG:  statement: SELECT *',
      '\tFROM table',
      '2024-01-15 10:00:07 UTC::@:[401]:LOG:  checkpoint starting: time',
    ],
    keyTime: '2024-01-15T10:00:00.000Z',
    contentTime: '2024-01-15T10:00:06.000Z',
  },
  {
    format: 'nginx_access',
    key: 'web1/nginx/access.log-20240115.gz',
    lines: ['1.2.3.4 - - [15/Jan/2024:10:00:00 +0000] "GET /path HTTP/1.1" 200 1234 "-" "User-Agent"'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'apache_combined',
    key: 'web2/access.log.1.gz',
    lines: ['1.2.3.4 - frank [15/Jan/2024:12:00:00 +0200] "GET /path HTTP/1.1" 200 1234 "http://referer" "User-Agent"'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'syslog_rfc3164',
    key: 'hosts/server1/auth.log.2.gz',
    lines: ['Jan 15 10:00:00 server program[123]: Message text'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'app_json_iso',
    key: 'prod/app-checkout.json.gz',
    lines: ['{"timestamp":"2024-01-15T10:00:00.123Z","level":"INFO","message":"Request processed"}'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.123Z',
  },
  {
    format: 'kubernetes',
    key: 'cluster1/kube-system/coredns-5d78c9869d.log.gz',
    lines: ['{"timestamp":"2024-01-15T10:00:00.123456Z","level":"INFO","message":"Pod started"}'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.123Z',
  },
  {
    format: 'json_unix',
    key: 'events/0001.json.gz',
    lines: ['{"timestamp":1705312800,"level":"INFO","message":"Request processed"}'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'generic_csv',
    key: 'exports/requests.csv.gz',
    lines: [
      'timestamp,level,message',
      '2024-01-15 10:00:00,INFO,Request processed',
      '2024-01-15 10:00:01,WARN,Slow query detected',
    ],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
  {
    format: 'text_iso',
    key: 'service/out.log.gz',
    lines: ['2024-01-15T10:00:00Z INFO Request processed'],
    keyTime: undefined,
    contentTime: '2024-01-15T10:00:00.000Z',
  },
]
