package doors

import "golang.org/x/sys/unix"

var system = []way{boundIf(unix.SetsockoptInt, family)}

const descriptors = "/dev/fd"

// The numbers of ways.go are this system's.
var (
	_ = [1]struct{}{}[ipBoundIf-unix.IP_BOUND_IF]
	_ = [1]struct{}{}[ipv6BoundIf-unix.IPV6_BOUND_IF]
	_ = [1]struct{}{}[levelIP-unix.IPPROTO_IP]
	_ = [1]struct{}{}[levelIPv6-unix.IPPROTO_IPV6]
	_ = [1]struct{}{}[familyDarwin-unix.AF_INET6]
)

func family(fd int) (int, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	if _, six := sa.(*unix.SockaddrInet6); six {
		return unix.AF_INET6, nil
	}
	return unix.AF_INET, nil
}
