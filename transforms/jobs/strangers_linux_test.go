package jobs_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestListenersHearTheLoopbackInterfaceAlone looks at all sockets of this process that listen after a job.
func TestListenersHearTheLoopbackInterfaceAlone(t *testing.T) {
	at := prismAt(t)
	_, prism, _ := net.SplitHostPort(at)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range fds {
		fd, _ := strconv.Atoi(e.Name())
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			continue
		}
		device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		if err != nil {
			t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		var ip net.IP
		port := 0
		switch a := name.(type) {
		case *unix.SockaddrInet4:
			ip, port = a.Addr[:], a.Port
		case *unix.SockaddrInet6:
			ip, port = a.Addr[:], a.Port
		default:
			continue
		}
		found = found || strconv.Itoa(port) == prism
		if device = strings.TrimRight(device, "\x00"); device != "lo" && !ip.IsLoopback() {
			t.Errorf("a socket listens at %s port %d, bound to the interface %q", ip, port, device)
		}
	}
	if !found {
		t.Errorf("no socket listens at Prism's port %s", prism)
	}
}
