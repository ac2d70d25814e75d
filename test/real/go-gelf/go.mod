module s3-streamer/go-gelf

go 1.21

require github.com/grafana/go-gelf/v2 v2.0.1
