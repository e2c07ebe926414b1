//go:build !unix

package channels

import "syscall"

// gone cannot be known without a socket call that peeks; a closed connection then shows when it is used.
func gone(syscall.RawConn) bool { return false }
