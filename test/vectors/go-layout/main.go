// Writes test/vectors/go-layout.json: what Go's own time.Parse makes of many layouts and values.
// Run in this directory: go run main.go > ../go-layout.json
//
// An entry of "vectors" is [layout, [[value, ms], ...]]. ms is null where Go returns an error, and a third member is
// the name of a zone that Go does not know and therefore counts as UTC (GMT+3 too: Go labels the time, and does not move it).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strings"
	"time"
)

var layouts = []string{
	time.Layout, time.ANSIC, time.UnixDate, time.RubyDate, time.RFC822, time.RFC822Z, time.RFC850, time.RFC1123,
	time.RFC1123Z, time.RFC3339, time.RFC3339Nano, time.Kitchen, time.Stamp, time.StampMilli, time.StampMicro,
	time.StampNano, time.DateTime, time.DateOnly, time.TimeOnly,
	// The layouts of the recipes.
	"2006-01-02T15:04:05Z", "20060102T150405Z", "20060102T1504Z", "2006-01-02T15:04:05.000000Z",
	"2006-01-02T15:04:05.000Z", "2006-01-02\t15:04:05", "02/Jan/2006:15:04:05 -0700", "060102 15:04:05",
	"2006-01-02 15:04:05 MST", "2006/01/02/15/20060102-150405", "Jan _2 15:04:05", "2006-01-02-15", "2006-1-2-15-4",
	"2006-01-02.15", "2006-01-02-15-04-05",
	// Every verb, alone or where only its neighbours give it sense.
	"January 2, 2006", "Monday, January _2 2006", "Mon Jan 2 06", "1/2/06", "01/02/06 3:04 PM", "1/2/2006 3:4:5 pm",
	"2 January 2006 03:04PM", "_2006", "__2 2006", "2006-002", "2006 __2 15:04", "002/06", "2006-01-02 002", "2006.01.02 __2",
	"06002", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 Z07", "2006-01-02 15:04:05 Z070000",
	"2006-01-02 15:04:05 Z07:00:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 -07:00", "2006-01-02 15:04:05 -07",
	"2006-01-02 15:04:05 -070000", "2006-01-02 15:04:05 -07:00:00", "2006-01-02 15:04:05 -0700 MST", "MST 2006-01-02 15:04",
	"2006-01-02 15:04:05.0", "2006-01-02 15:04:05.00", "2006-01-02 15:04:05,000", "2006-01-02 15:04:05.999", "2006-01-02 15:04:05,999999",
	"2006-01-02 15:04:05.9", "2006-01-02 15:04:05.0000000000", "15:04:05.000 2006-01-02", "05.999 2006", "05 .000 2006", "5x4x3 PM",
	"20060102150405", "200601021504", "2006010215", "20060102", "150405.000", "150405.999999999 -0700 2006",
	// Text that only looks like verbs, and literals.
	"Janet 2006", "January", "Mond 2006", "Money 2006", "MSTX 2006", "2006-01-02T15:04:05.000Zz", ".00a 2006", ".00 2006", "P 2006", "",
	"  2006  01", "[2006-01-02] é 15:04", "no verbs here", "2006_2", "-7 2006", "Z7 2006", "07 2006", "2006-01-02T15:04:05-07:00[MST]",
}

// Values to try with every layout that has the same shape in its first characters.
var special = map[string][]string{
	time.RFC3339: {
		"2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2024-04-31T00:00:00Z",
		"2024-00-10T00:00:00Z", "2024-13-10T00:00:00Z", "2024-01-00T00:00:00Z", "2024-01-32T00:00:00Z", "2024-01-02T24:00:00Z",
		"2024-01-02T23:60:00Z", "2024-01-02T23:59:60Z", "2024-01-02T23:59:59.Z", "2024-01-02T23:59:59.1Z", "2024-01-02T23:59:59,25Z",
		"2024-01-02T23:59:59.123456789123Z", "2024-01-02T23:59:59.999999999Z", "2024-01-02T3:59:59Z", "2024-01-02T23:5:59Z",
		"2024-01-02t23:59:59Z", "2024-01-02T23:59:59z", "2024-01-02T23:59:59+24:00", "2024-01-02T23:59:59+24:60", "2024-01-02T23:59:59+25:00",
		"2024-01-02T23:59:59+23:61", "2024-01-02T23:59:59-00:00", "2024-01-02T23:59:59 +01:00", "2024-01-02T23:59:59+0100",
		"2024-01-02T23:59:59+01", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59.9999Z",
		"12024-01-02T23:59:59Z", "+024-01-02T23:59:59Z", "-024-01-02T23:59:59Z", "2+24-01-02T23:59:59Z", " 2024-01-02T23:59:59Z", "2024-01-02T23:59:59Z ",
	},
	"2006-01-02 15:04:05 MST": {
		"2024-01-15 10:00:00 UTC", "2024-01-15 10:00:00 GMT", "2024-01-15 10:00:00 GMT+3", "2024-01-15 10:00:00 GMT-11", "2024-01-15 10:00:00 GMT+23",
		"2024-01-15 10:00:00 GMT+24", "2024-01-15 10:00:00 GMT-0330", "2024-01-15 10:00:00 GMT+", "2024-01-15 10:00:00 GMT+03", "2024-01-15 10:00:00 EST",
		"2024-01-15 10:00:00 PDT", "2024-01-15 10:00:00 CEST", "2024-01-15 10:00:00 BST", "2024-01-15 10:00:00 IST", "2024-01-15 10:00:00 ChST",
		"2024-01-15 10:00:00 MeST", "2024-01-15 10:00:00 WITA", "2024-01-15 10:00:00 WITX", "2024-01-15 10:00:00 AKDT", "2024-01-15 10:00:00 ABCDT",
		"2024-01-15 10:00:00 ABCDE", "2024-01-15 10:00:00 ABCDET", "2024-01-15 10:00:00 AB", "2024-01-15 10:00:00 +03", "2024-01-15 10:00:00 -3",
		"2024-01-15 10:00:00 +24", "2024-01-15 10:00:00 +0330", "2024-01-15 10:00:00 utc", "2024-01-15 10:00:00 UTCX", "2024-01-15 10:00:00 Z",
		"2024-01-15 10:00:00.5 JST", "2024-01-15 10:00:00", "2024-01-15 10:00:00  UTC", "2024-01-15 10:00:00 ",
	},
	"2006-01-02 15:04:05 -0700 MST": {
		"2024-01-15 10:00:00 +0200 EST", "2024-01-15 10:00:00 -0800 PST", "2024-01-15 10:00:00 +0530 UTC", "2024-01-15 10:00:00 +0300 +03",
	},
	"2006-01-02 15:04:05 -07:00:00": {"2024-01-15 10:00:00 -00:00:01", "2024-01-15 10:00:00 -00:00:02", "2024-01-15 10:00:00 +00:00:60", "2024-01-15 10:00:00 +00:00:61"},
	"2006-01-02 002": {
		"2024-02-29 060", "2024-03-01 061", "2024-03-01 060", "2023-03-01 060", "2024-12-31 366", "2023-12-31 365", "2023-12-31 366", "2023-01-01 000", "2023-02-01 032", "2023-02-02 032", "2023-01-32 032",
	},
	"2006-002":        {"2024-366", "2023-366", "2023-365", "2024-000", "2024-60", "2024-060", "2024-999", "2024-0600", "1900-060", "2000-060"},
	"2006 __2 15:04":  {"2024   6 10:00", "2024  60 10:00", "2024 366 10:00", "2024 6 10:00", "2024    6 10:00"},
	"002/06":          {"060/24", "366/68", "366/69", "001/-5", "001/+5", "001/5"},
	"Jan _2 15:04:05": {"Feb 29 10:00:00", "Feb 30 10:00:00", "feb  9 10:00:00", "FEB 09 10:00:00", "Feb  9 10:00:00.123", "Feb   9 10:00:00", "Febr 9 10:00:00"},
	"01/02/06 3:04 PM": {
		"01/15/24 12:00 AM", "01/15/24 12:00 PM", "01/15/24 0:00 PM", "01/15/24 0:00 AM", "01/15/24 13:00 PM", "01/15/24 1:00 pm", "01/15/24 1:00 XM", "01/15/24 1:00", "01/15/69 1:00 PM", "01/15/68 1:00 PM",
	},
	"1/2/2006 3:4:5 pm":              {"1/5/2024 12:0:0 am", "1/5/2024 12:0:0 pm", "1/5/2024 12:0:0 PM", "1/5/2024 12:0:0.5 pm"},
	"2006-01-02 15:04:05,000":        {"2024-01-15 10:00:00.123", "2024-01-15 10:00:00,+12", "2024-01-15 10:00:00,-12", "2024-01-15 10:00:00,12", "2024-01-15 10:00:00,1234"},
	"2006-01-02 15:04:05.0":          {"2024-01-15 10:00:00.+", "2024-01-15 10:00:00.-", "2024-01-15 10:00:00.7"},
	"2006-01-02 15:04:05.999":        {"2024-01-15 10:00:00", "2024-01-15 10:00:00.", "2024-01-15 10:00:00.123456789123", "2024-01-15 10:00:00,5"},
	"2006-01-02 15:04:05.0000000000": {"2024-01-15 10:00:00.1234567891", "2024-01-15 10:00:00.123456789x", "2024-01-15 10:00:00.123456789"},
	"[2006-01-02] é 15:04":           {"[2024-01-15] é 10:00", "[2024-01-15] e 10:00", "[2024-01-15] é  10:00"},
	"January 2, 2006":                {"JANUARY 2, 2024", "may 31, 2024", "June 31, 2024", "Mayo 3, 2024", "\u212auly 3, 2024"},
}

func main() {
	time.Local = time.UTC
	random := rand.New(rand.NewSource(20060102150405))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintf(out, "{\"go\":%q,\"vectors\":[", runtime.Version())
	zones := []*time.Location{time.UTC, time.FixedZone("EST", -5*3600), time.FixedZone("CEST", 7200), time.FixedZone("", 5*3600+1800), time.FixedZone("BST", 3600), time.FixedZone("", -12345)}
	for i, layout := range layouts {
		values := append([]string{}, special[layout]...)
		for n := 0; n < 10; n++ {
			at := time.Unix(random.Int63n(130*365*86400)-70*365*86400, random.Int63n(1e9)).In(zones[n%len(zones)])
			value := at.Format(layout)
			values = append(values, value)
			for m := 0; m < 3; m++ {
				values = append(values, mutate(random, value))
			}
		}
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(out, "\n[%s,[", quote(layout))
		seen := map[string]bool{}
		for _, value := range values {
			if seen[value] {
				continue
			}
			if len(seen) > 0 {
				out.WriteString(",")
			}
			seen[value] = true
			at, err := time.Parse(layout, value)
			name, offset := at.Zone()
			switch {
			case err != nil:
				fmt.Fprintf(out, "[%s,null]", quote(value))
			case (offset == 0 || strings.HasPrefix(name, "GMT")) && name != "" && name != "UTC":
				fmt.Fprintf(out, "[%s,%d,%q]", quote(value), at.UnixMilli(), name)
			default:
				fmt.Fprintf(out, "[%s,%d]", quote(value), at.UnixMilli())
			}
		}
		out.WriteString("]]")
	}
	out.WriteString("\n]}\n")
}

// mutate changes a character or two, mostly into something that could stand there.
func mutate(random *rand.Rand, value string) string {
	const alphabet = "0123456789 :-+.,TZAPM/ab"
	b := []byte(value)
	for n := 1 + random.Intn(2); n > 0 && len(b) > 0; n-- {
		at := random.Intn(len(b))
		if b[at] >= 0x80 {
			continue
		}
		c := alphabet[random.Intn(len(alphabet))]
		switch random.Intn(5) {
		case 0:
			b = append(b[:at], b[at+1:]...)
		case 1:
			b = append(b[:at], append([]byte{c}, b[at:]...)...)
		case 2:
			if b[at] >= '0' && b[at] <= '9' {
				c = byte('0' + random.Intn(10))
			}
			b[at] = c
		case 3:
			if b[at] >= '0' && b[at] <= '9' {
				b[at] = byte('0' + random.Intn(10))
			}
		case 4:
			b = []byte(strings.ToLower(string(b[:at])) + string(b[at:]))
		}
	}
	return string(b)
}

func quote(s string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
