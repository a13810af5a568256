package doors

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listener(t *testing.T, address string) (net.Listener, int) {
	t.Helper()
	var c net.ListenConfig
	c.SetMultipathTCP(false) // its sockets take no filter
	l, err := c.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// dial connects and says whether a byte came back.
func dial(t *testing.T, l net.Listener, address string) bool {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
	if err != nil {
		return false
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write([]byte{1}); err != nil {
		return false
	}
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

func boundTo(t *testing.T, port int) string {
	t.Helper()
	at := "no socket"
	if err := own(func(fd int) (err error) {
		if listensAt(fd, port) {
			at, err = unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(at, "\x00")
}

func TestConfine(t *testing.T) {
	lo, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{":0", "0.0.0.0:0", "127.0.0.1:0"} {
		l, port := listener(t, address)
		other, otherPort := listener(t, "127.0.0.1:0")
		if err := lo.Confine(port); err != nil {
			t.Fatal(err)
		}
		if got := boundTo(t, port); got != lo.name && !olderThan57() {
			t.Errorf("%s: the listener is bound to %q, want %q", address, got, lo.name)
		}
		if got := boundTo(t, otherPort); got != "" {
			t.Errorf("the listener at another port is bound to %q", got)
		}
		if at := fmt.Sprintf("127.0.0.1:%d", port); !dial(t, l, at) {
			t.Errorf("%s: %s does not answer", address, at)
		}
		if !dial(t, other, other.Addr().String()) {
			t.Error("the listener at another port does not answer")
		}
		l.Close()
		if err := lo.Confine(port); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d: no socket of this process", port)) {
			t.Errorf("a port that nobody listens at: %v", err)
		}
	}
}

func olderThan57() bool {
	var u unix.Utsname
	var major, minor int
	_ = unix.Uname(&u)
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return major < 5 || major == 5 && minor < 7
}

// TestFilter has the filter of older systems alone: over the interface that it names a connection is made and carries data, over others
// none is made.
func TestFilter(t *testing.T) {
	lo, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		index int
		want  bool
	}{{lo.index, true}, {lo.index + 1000, false}} {
		l, port := listener(t, ":0")
		if err := own(func(fd int) error {
			if !listensAt(fd, port) {
				return nil
			}
			return (&Loopback{lo.name, c.index}).confine(fd, []way{filter(attach)})
		}); errors.Is(err, unix.EPERM) { // a limit of the system's (net.core.bpf_jit_limit) that root does not have
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		if got := dial(t, l, fmt.Sprintf("127.0.0.1:%d", port)); got != c.want {
			t.Errorf("a filter for interface %d, connected over %d: answered %v", c.index, lo.index, got)
		}
	}
}

// TestDisconnect ends connections of an address that is not the loopback interface's, which stands for another host's.
func TestDisconnect(t *testing.T) {
	l, port := listener(t, ":0")
	var far net.IP
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			far = n.IP
		}
	}
	if far == nil {
		t.Skip("this machine has the loopback interface alone")
	}
	connect := func(ip string) (near, accepted net.Conn) {
		near, err := net.Dial("tcp", net.JoinHostPort(ip, fmt.Sprint(port)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close() })
		if accepted, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { accepted.Close() })
		return near, accepted
	}
	stranger, _ := connect(far.String())
	own, accepted := connect("127.0.0.1")
	Disconnect(port)
	stranger.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := stranger.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the connection of %s goes on: %v", far, err)
	}
	if _, err := accepted.Write([]byte{1}); err != nil {
		t.Error(err)
	}
	own.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := own.Read(make([]byte, 1)); n != 1 {
		t.Errorf("this machine's connection: %v", err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
