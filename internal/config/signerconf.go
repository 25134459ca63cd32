package config

import (
	"net/netip"
	"time"
)

// Signer says where validators' keys are: at least one of Local, Remote and Dirk,
// and where proxy keys are kept: at most one Store among them.
type Signer struct {
	// DockerImage is Commit-Boost's. Accepted and not used.
	DockerImage string `toml:"docker_image"`
	// Host of the Signer API. Default 127.0.0.1. It is served if there is a
	// module of the type "commit".
	Host netip.Addr `toml:"host"`
	// Port of the Signer API. Default 20000; 0 takes any free one.
	Port uint16 `toml:"port"`
	// AdminSecretFile holds the secret of /reload and /revoke_jwt, one line.
	// Optional: else it is in the environment variable CB_SIGNER_ADMIN_JWT, else
	// nobody may call them.
	AdminSecretFile string `toml:"admin_secret_file"`
	// JWTAuthFailLimit is how many tokens may fail in one module's name from one
	// address before it is blocked. Default 3; 0 means no limit.
	JWTAuthFailLimit int `toml:"jwt_auth_fail_limit"`
	// JWTAuthFailTimeout is how long it stays blocked. Default 300 s.
	JWTAuthFailTimeout time.Duration `toml:"jwt_auth_fail_timeout_seconds"`
	// TLS of the Signer API. Optional.
	TLS TLSMode `toml:"tls_mode"`
	// ReverseProxy says where a caller's address is found. Optional.
	ReverseProxy ReverseProxy `toml:"reverse_proxy"`

	// Local reads keys from this machine.
	Local *Local `toml:"local"`
	// Remote is a Web3Signer.
	Remote *Remote `toml:"remote"`
	// Dirk is a Dirk server or cluster.
	Dirk *Dirk `toml:"dirk"`
}

// Store is where proxy keys are kept, whoever holds the validators' keys; empty
// if the file does not say.
func (s *Signer) Store() KeyStore {
	for _, has := range s.stores() {
		if has.store != (KeyStore{}) {
			return has.store
		}
	}
	return KeyStore{}
}

// namedStore is a store and its key in the file.
type namedStore struct {
	key   string
	store KeyStore
}

func (s *Signer) stores() (all []namedStore) {
	if s.Local != nil {
		all = append(all, namedStore{"signer.local.store", s.Local.Store})
	}
	if s.Remote != nil {
		all = append(all, namedStore{"signer.remote.store", s.Remote.Store})
	}
	if s.Dirk != nil {
		all = append(all, namedStore{"signer.dirk.store", s.Dirk.Store})
	}
	return all
}

func (s *Signer) setDefaults() {
	*s = Signer{Host: loopback, Port: 20000, JWTAuthFailLimit: 3, JWTAuthFailTimeout: 300 * time.Second,
		TLS: TLSMode{Type: "insecure"}, ReverseProxy: ReverseProxy{Type: "none"}}
}

// Types of TLS.
const (
	TLSInsecure    = "insecure"
	TLSCertificate = "certificate"
)

// TLSMode is the Signer API's TLS.
type TLSMode struct {
	// Type is "insecure" or "certificate". Default "insecure".
	Type string `toml:"type"`
	// Path is a directory with cert.pem and key.pem. Required for "certificate".
	// With a client_ca.pem in it callers must have a certificate, too.
	Path string `toml:"path"`
	// InsecurePublic allows "insecure" on an address that is not loopback, where
	// others may read tokens, and use legacy ones. Default false.
	InsecurePublic bool `toml:"insecure_public"`
}

// ReverseProxy says which header holds a caller's address.
type ReverseProxy struct {
	// Type is "none", "unique" or "rightmost". Default "none".
	Type string `toml:"type"`
	// Header that holds the address. Required for the other types.
	Header string `toml:"header"`
	// TrustedCount is how many proxies stand before us. Required for "rightmost".
	TrustedCount int `toml:"trusted_count"`
}

// Local reads keys and keeps proxies on this machine.
type Local struct {
	// Loader finds the validators' keys. Required.
	Loader KeyLoader `toml:"loader"`
	// Store keeps proxy keys and delegations. Required for promises: a proxy that
	// is lost takes its delegation with it.
	Store KeyStore `toml:"store"`
}

// Keystore formats.
const (
	FormatLighthouse = "lighthouse"
	FormatTeku       = "teku"
	FormatLodestar   = "lodestar"
	FormatNimbus     = "nimbus"
	FormatPrysm      = "prysm"
)

// KeyLoader is KeyPath, or KeysPath with SecretsPath and Format.
type KeyLoader struct {
	// KeyPath is a file of plain-text secrets, a JSON array. For tests.
	KeyPath string `toml:"key_path"`
	// KeysPath is the directory (prysm: the file) of ERC-2335 keystores.
	KeysPath string `toml:"keys_path"`
	// SecretsPath is the directory (lodestar, prysm: the file) of passwords.
	SecretsPath string `toml:"secrets_path"`
	// Format is "lighthouse", "teku", "lodestar", "nimbus" or "prysm".
	Format string `toml:"format"`
}

// KeyStore is ProxyDir, or KeysPath with SecretsPath, or nothing.
type KeyStore struct {
	// ProxyDir is a directory of plain-text secrets. For tests.
	ProxyDir string `toml:"proxy_dir"`
	// KeysPath is a directory of ERC-2335 keystores.
	KeysPath string `toml:"keys_path"`
	// SecretsPath is the directory of their passwords.
	SecretsPath string `toml:"secrets_path"`
}

// Remote is a Web3Signer with its Commit-Boost API on.
type Remote struct {
	// URL of the Web3Signer. Required; https, but on this machine.
	URL string `toml:"url"`
	// CertPath is our client certificate, PEM. Optional.
	CertPath string `toml:"cert_path"`
	// KeyPath is its key, PEM. Required with CertPath.
	KeyPath string `toml:"key_path"`
	// CACertPath is the authority of the server's certificate, PEM. Optional: the
	// system's.
	CACertPath string `toml:"ca_cert_path"`
	// Timeout of one signature. Default 2000 ms.
	Timeout time.Duration `toml:"timeout_ms"`
	// Store keeps proxy keys. Optional; as in Local.
	Store KeyStore `toml:"store"`
}

func (r *Remote) setDefaults() { r.Timeout = 2 * time.Second }

// Dirk is a Dirk server, or a cluster of them.
type Dirk struct {
	// CertPath is our client certificate, PEM. Required.
	CertPath string `toml:"cert_path"`
	// KeyPath is its key, PEM. Required.
	KeyPath string `toml:"key_path"`
	// SecretsPath is Commit-Boost's, for the passwords of proxy keys in Dirk.
	// Accepted and not used: our proxy keys are in Store.
	SecretsPath string `toml:"secrets_path"`
	// CACertPath is the authority of the servers' certificates, PEM. Optional: the
	// system's.
	CACertPath string `toml:"ca_cert_path"`
	// MaxResponseSize of a gRPC answer, in bytes. Default 4 MiB.
	MaxResponseSize uint64 `toml:"max_response_size_bytes"`
	// Timeout of one signature. Default 2000 ms.
	Timeout time.Duration `toml:"timeout_ms"`
	// Store keeps proxy keys. Optional; as in Local.
	Store KeyStore `toml:"store"`
	// Hosts of the cluster. At least one.
	Hosts []DirkHost `toml:"hosts"`
}

func (d *Dirk) setDefaults() { d.MaxResponseSize, d.Timeout = 4<<20, 2*time.Second }

// DirkHost is one server of a Dirk cluster.
type DirkHost struct {
	// URL of the server, https. Required.
	URL string `toml:"url"`
	// ServerName in its certificate, if not the URL's host. Optional. It is also
	// the server's name among the participants of a distributed account.
	ServerName string `toml:"server_name"`
	// Wallets to load. Required.
	Wallets []string `toml:"wallets"`
}
