package kubernetes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inside runs f on a thread of the network namespace that a process lives in.
// Sockets that f opens belong there, whoever uses them afterwards.
func inside(pid int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		if unix.Gettid() == os.Getpid() {
			// The first thread stands for the process: it must not be lost.
			defer runtime.UnlockOSThread()
			done <- inside(pid, f)
			return
		}
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			done <- err
			return
		}
		defer namespace.Close()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace of process %d: %w", pid, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// serveDNS answers for SERVICE.NAMESPACE.svc.cluster.local until conn is
// closed: what a cluster's DNS server does for charts and programs that name
// services. It knows A records and nothing else (RFC 1035).
func serveDNS(conn net.PacketConn, lookup func(service, namespace string) net.IP) {
	buffer := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if answer := answerDNS(buffer[:n], lookup); answer != nil {
			conn.WriteTo(answer, from)
		}
	}
}

func answerDNS(query []byte, lookup func(service, namespace string) net.IP) []byte {
	if len(query) < 12 || query[2]&0x80 != 0 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil // no query, or not of one question
	}
	var labels []string
	i := 12
	for i < len(query) && query[i] != 0 {
		length := int(query[i])
		if length > 63 || i+1+length >= len(query) {
			return nil
		}
		labels = append(labels, strings.ToLower(string(query[i+1:i+1+length])))
		i += 1 + length
	}
	i += 5 // the end of the name, type and class
	if i > len(query) {
		return nil
	}
	answer := append([]byte(nil), query[:i]...)
	answer[2], answer[3] = 0x84|query[2]&1, 0x80 // a response, authoritative; recursion as asked
	copy(answer[6:12], []byte{0, 0, 0, 0, 0, 0}) // no records yet
	var ip net.IP
	known := len(labels) == 5 && strings.Join(labels[2:], ".") == "svc.cluster.local"
	if known {
		ip = lookup(labels[0], labels[1])
	}
	switch {
	case ip == nil:
		answer[3] |= 3 // no such name
	case binary.BigEndian.Uint16(query[i-4:]) == 1:
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4)
		answer = append(answer, ip.To4()...)
	}
	return answer
}

func TestAnswerDNS(t *testing.T) {
	lookup := func(service, namespace string) net.IP {
		if service == "noether" && namespace == "energy" {
			return net.IPv4(10, 96, 0, 7)
		}
		return nil
	}
	query := func(name string, kind byte) []byte {
		q := []byte{7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
		for label := range strings.SplitSeq(name, ".") {
			q = append(append(q, byte(len(label))), label...)
		}
		return append(q, 0, 0, kind, 0, 1)
	}
	if got := answerDNS(query("noether.energy.svc.cluster.local", 1), lookup); len(got) < 16 || got[7] != 1 || !net.IP(got[len(got)-4:]).Equal(net.IPv4(10, 96, 0, 7)) {
		t.Errorf("A: %v", got)
	}
	if got := answerDNS(query("noether.energy.svc.cluster.local", 28), lookup); len(got) < 12 || got[3]&15 != 0 || got[7] != 0 {
		t.Errorf("AAAA of a name that has none is no error: %v", got)
	}
	if got := answerDNS(query("other.energy.svc.cluster.local", 1), lookup); len(got) < 12 || got[3]&15 != 3 {
		t.Errorf("an unknown name: %v", got)
	}
	for n := range 30 {
		answerDNS(query("noether.energy.svc.cluster.local", 1)[:n], lookup) // does not panic
	}
}
