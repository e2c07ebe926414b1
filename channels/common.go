package channels

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Common are the settings that every channel kind has; embed it inline.
type Common struct {
	Kind    string        `yaml:"kind"`              // read by the registry
	Rate    Rate          `yaml:"rate,omitempty"`    // calls of all pods together, "30/m"
	Slots   int           `yaml:"slots,omitempty"`   // attempts at once for each priority
	Timeout time.Duration `yaml:"timeout,omitempty"` // one attempt, "15s"
}

const (
	maxSlots   = 1024
	minTimeout = time.Second
	maxTimeout = 10 * time.Minute
)

// Check refuses slots and time limits that make no sense; absent ones are left to the kind's
// defaults. The error is a [*schemas.Invalid].
func (c Common) Check() error {
	switch {
	case c.Slots < 0 || c.Slots > maxSlots:
		return BadSetting("slots", fmt.Sprintf("并发数须在 1 到 %d 之间", maxSlots), fmt.Sprintf("slots must be between 1 and %d", maxSlots))
	case c.Timeout != 0 && (c.Timeout < minTimeout || c.Timeout > maxTimeout):
		return BadSetting("timeout", "超时时间须在 1 秒到 10 分钟之间", "the timeout must be between 1s and 10m")
	}
	return nil
}

// Path is where a file is that yizhan.yaml names: a relative one starts at e.Dir.
func (e Env) Path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(e.Dir, file)
}

// Roots are the certificates to trust: those of the file (PEM) besides the system's; nil, without a file, is the system's.
// The error is a [*schemas.Invalid] at key, the setting that names the file.
func (e Env) Roots(key, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(e.Path(file))
	if err != nil {
		return nil, BadSetting(key, "无法读取证书文件："+err.Error(), err.Error())
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // not on this platform
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, BadSetting(key, "文件 "+file+" 中没有可用的 PEM 证书", file+" holds no PEM certificate")
	}
	return pool, nil
}

// Loopback says whether a host, a name or an address, is this machine itself.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Secret reads a secret from the file (relative to e.Dir) or, when file is empty, from the
// environment variable. Neither given is "" and no error. A trailing newline is not part of it.
func (e Env) Secret(file, env string) (string, error) {
	switch {
	case file != "" && env != "":
		return "", errors.New("give the secret by file or by environment variable, not both")
	case file != "":
		b, err := os.ReadFile(e.Path(file))
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	case env != "":
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("secret: environment variable %s is not set", env)
		}
		return v, nil
	}
	return "", nil
}
