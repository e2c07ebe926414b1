//go:build unix

package channels

import (
	"errors"
	"syscall"
)

// gone peeks at the socket. Control, not Read: another goroutine is waiting in Read and holds its lock.
func gone(raw syscall.RawConn) bool {
	dead := false
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == nil:
			dead = n == 0 // end of stream
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		default:
			dead = true
		}
	})
	return dead || err != nil
}
