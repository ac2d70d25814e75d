// A GELF receiver that appends every message it reads, as a line of JSON, to a file.
//
// UDP is read by the Reader of github.com/grafana/go-gelf, the one that Promtail has: chunks, compression, JSON. It knows datagrams of up to
// 1420 bytes. The TCP reader of that module cannot be used from outside, and loses what it has read of a message when its deadline comes; so
// here messages are told apart by the NUL at their end, and read by the module's Message.
//
// Usage: go-gelf -udp 127.0.0.1:PORT -tcp 127.0.0.1:PORT -out FILE
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/grafana/go-gelf/v2/gelf"
)

const longestMessage = 8 << 20

// What came, as one line. A file that is opened for appending takes each write as a whole.
type output struct {
	mutex sync.Mutex
	file  *os.File
}

func (o *output) message(m *gelf.Message) {
	line, err := json.Marshal(struct {
		*gelf.Message
		Extra map[string]interface{} `json:"extra,omitempty"`
	}{m, m.Extra})
	if err != nil {
		log.Fatal(err)
	}
	o.write(line)
}

func (o *output) failure(transport string, failure error) {
	line, err := json.Marshal(map[string]string{"transport": transport, "error": failure.Error()})
	if err != nil {
		log.Fatal(err)
	}
	o.write(line)
}

func (o *output) write(line []byte) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if _, err := o.file.Write(append(line, '\n')); err != nil {
		log.Fatal(err)
	}
}

func main() {
	udp := flag.String("udp", "", "address for datagrams")
	tcp := flag.String("tcp", "", "address for connections")
	path := flag.String("out", "", "file to append to")
	flag.Parse()

	file, err := os.OpenFile(*path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	out := &output{file: file}

	reader, err := gelf.NewReader(*udp)
	if err != nil {
		log.Fatal(err)
	}
	go readDatagrams(reader, out)

	listener, err := net.Listen("tcp", *tcp)
	if err != nil {
		log.Fatal(err)
	}
	connections := &group{open: map[net.Conn]struct{}{}}
	go accept(listener, connections, out)

	fmt.Println("ready")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	listener.Close()
	connections.end()
}

func readDatagrams(reader *gelf.Reader, out *output) {
	for {
		message, err := reader.ReadMessage()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			out.failure("udp", err)
			continue
		}
		out.message(message)
	}
}

// The connections that are open.
type group struct {
	mutex sync.Mutex
	ended bool
	open  map[net.Conn]struct{}
	done  sync.WaitGroup
}

func (g *group) add(connection net.Conn) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.ended {
		return false
	}
	g.open[connection] = struct{}{}
	g.done.Add(1)
	return true
}

func (g *group) remove(connection net.Conn) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	delete(g.open, connection)
	g.done.Done()
}

// Closes all, and waits until what was read of them is written.
func (g *group) end() {
	g.mutex.Lock()
	g.ended = true
	for connection := range g.open {
		connection.Close()
	}
	g.mutex.Unlock()
	g.done.Wait()
}

func accept(listener net.Listener, connections *group, out *output) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		if !connections.add(connection) {
			connection.Close()
			return
		}
		go func() {
			defer connections.remove(connection)
			defer connection.Close()
			readConnection(connection, out)
		}()
	}
}

func readConnection(connection net.Conn, out *output) {
	scanner := bufio.NewScanner(connection)
	scanner.Buffer(make([]byte, 64<<10), longestMessage)
	scanner.Split(untilNul)
	for scanner.Scan() {
		message := new(gelf.Message)
		if err := message.UnmarshalJSON(scanner.Bytes()); err != nil {
			out.failure("tcp", err)
			continue
		}
		out.message(message)
	}
	if err := scanner.Err(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
		out.failure("tcp", err)
	}
}

func untilNul(data []byte, _ bool) (int, []byte, error) {
	if end := bytes.IndexByte(data, 0); end >= 0 {
		return end + 1, data[:end], nil
	}
	// What is left at the end is no message: the sender sends it again.
	return 0, nil, nil
}
