package config

import (
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Module types.
const (
	ModuleCommit    = "commit"    // a process of its own that asks for signatures [Commit-Boost]
	ModuleRemote    = "remote"    // a process of its own that makes promises
	ModuleInclusion = "inclusion" // built in: inclusion promises
	ModuleEcho      = "echo"      // built in: the tutorial's
)

// Module is one commitment module. [Commit-Boost: modules]
type Module struct {
	// ID names the module. Required, unique.
	ID string `toml:"id"`
	// Type is "commit" for a Commit-Boost module, "remote" for a module in
	// another process that makes promises, or a built-in one: "inclusion", "echo".
	// Required.
	Type string `toml:"type"`
	// SigningID is 32 bytes that set the module's signatures apart. Required, unique.
	SigningID phase0.Root `toml:"signing_id"`
	// Command starts the module as a child process: a program and its arguments.
	// It is started again when it ends. For "commit" and "remote". Optional.
	Command []string `toml:"command"`
	// DockerImage is Commit-Boost's. Accepted and not used.
	DockerImage string `toml:"docker_image"`
	// Env is added to the environment of Command, which is otherwise bare. Optional.
	Env map[string]string `toml:"env"`
	// EnvFile is Commit-Boost's. Accepted and not used.
	EnvFile string `toml:"env_file"`
	// Signer says what a "commit" module may ask of the Signer API. Optional.
	Signer *ModuleSigner `toml:"signer"`
	// Remote says where a "remote" module is. Required for it.
	Remote *ModuleRemoteAt `toml:"remote"`
	// Config is the module's own table; see DecodeModule. Optional.
	Config Table `toml:"config"`
	// Rest is what a "commit" module has beside these keys.
	Rest Table `toml:",rest"`
}

// Promises says whether the module makes promises.
func (m *Module) Promises() bool { return m.Type != ModuleCommit && m.Type != "" }

// ModuleRemoteAt says where a remote module is and what it may promise.
type ModuleRemoteAt struct {
	// URL of the module; /module/v1/… is appended. Required.
	URL string `toml:"url"`
	// SecretFile holds what we share with the module: one line of at least 16
	// characters. Required.
	SecretFile string `toml:"secret_file"`
	// CommitmentTypes are what it may promise. Required.
	CommitmentTypes []uint64 `toml:"commitment_types"`
	// ConstraintTypes are what it may ask of builders. Default none.
	ConstraintTypes []uint64 `toml:"constraint_types"`
	// SlotTimeout bounds the question which slot a request names. Default 100 ms.
	SlotTimeout time.Duration `toml:"slot_timeout_ms"`
	// CommitTimeout bounds the draft of a promise. Default 1000 ms.
	CommitTimeout time.Duration `toml:"commit_timeout_ms"`
	// VerifyTimeout bounds the check of a bid, which a proposal waits for.
	// Default 100 ms; the Builder API never waits longer than that.
	VerifyTimeout time.Duration `toml:"verify_timeout_ms"`
	// AuditTimeout bounds the judgement of a block. Default 10000 ms.
	AuditTimeout time.Duration `toml:"audit_timeout_ms"`
}

func (m *ModuleRemoteAt) setDefaults() {
	*m = ModuleRemoteAt{SlotTimeout: 100 * time.Millisecond, CommitTimeout: time.Second, VerifyTimeout: 100 * time.Millisecond, AuditTimeout: 10 * time.Second}
}

// Listen is the address that URL names, for a module that we start.
func (m *ModuleRemoteAt) Listen() string {
	u, err := url.Parse(m.URL)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (k *checker) modules() {
	ids := map[string]int{}
	signing := map[phase0.Root]int{}
	for i := range k.c.Modules {
		m, at := &k.c.Modules[i], element("modules", i)
		k.require(m.ID != "", at+".id", "is missing")
		k.require(len(m.ID) <= 64, at+".id", "is longer than 64 bytes")
		if j, twice := ids[m.ID]; twice && m.ID != "" {
			k.fail(at+".id", "%q is also the id of %s", m.ID, element("modules", j))
		}
		ids[m.ID] = i
		k.require(k.given(at+".signing_id"), at+".signing_id", "is missing: 32 bytes in hexadecimal")
		k.require(m.SigningID != (phase0.Root{}) || !k.given(at+".signing_id"), at+".signing_id", "is zero")
		if j, twice := signing[m.SigningID]; twice && m.SigningID != (phase0.Root{}) {
			k.fail(at+".signing_id", "is also the signing_id of %s", element("modules", j))
		}
		signing[m.SigningID] = i
		k.moduleType(m, at)
	}
}

const moduleTypes = "commit, remote, inclusion or echo"

func (k *checker) moduleType(m *Module, at string) {
	k.require(m.Type != ModuleCommit || m.Remote == nil, at+".remote", "is for modules of the type remote")
	k.require(m.Type == ModuleCommit || m.Signer == nil || m.Type == "", at+".signer", "is for modules of the type commit")
	if m.Type != ModuleCommit {
		for _, key := range m.Rest.keys() {
			k.fail(at+"."+key, "is not a key here; what a module reads is in [modules.config]")
		}
	}
	switch m.Type {
	case ModuleInclusion, ModuleEcho:
		k.require(m.Remote == nil, at+".remote", "is for modules of the type remote; this one is built in")
		k.require(len(m.Command) == 0, at+".command", "is for modules in processes of their own; this one is built in")
	case ModuleRemote:
		k.require(m.Config.Empty(), at+".config", "is for built-in modules; this one reads its own")
		k.moduleRemote(m.Remote, at+".remote")
		k.command(m, at)
	case ModuleCommit:
		k.moduleSigner(m, at)
		k.command(m, at)
	case "":
		k.require(false, at+".type", "is missing: "+moduleTypes)
	default:
		k.require(false, at+".type", "%.40q is not %s", m.Type, moduleTypes)
	}
}

func (k *checker) moduleRemote(r *ModuleRemoteAt, at string) {
	if r == nil {
		k.require(false, at, "is missing: where the module is")
		return
	}
	k.require(r.URL != "", at+".url", "is missing")
	k.url(r.URL, at+".url")
	u, err := url.Parse(r.URL)
	if err == nil {
		k.require(u.User == nil && u.RawQuery == "" && u.Fragment == "", at+".url", "has more than a host and a path")
		if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			k.warn(at+".url", "is not https, and not on this machine: whoever is on the way reads the secret")
		}
	}
	k.require(r.SecretFile != "", at+".secret_file", "is missing")
	k.require(len(r.CommitmentTypes) > 0 && len(r.CommitmentTypes) <= 64, at+".commitment_types", "are none, or more than 64")
	k.require(len(r.ConstraintTypes) <= 64, at+".constraint_types", "are more than 64")
	for key, d := range map[string]time.Duration{"slot": r.SlotTimeout, "commit": r.CommitTimeout, "verify": r.VerifyTimeout, "audit": r.AuditTimeout} {
		key = at + "." + key + "_timeout_ms"
		k.require(d > 0 && d <= time.Minute, key, "is not within 1 to %d ms", time.Minute.Milliseconds())
	}
}

// command checks what starts a module. There is no shell.
func (k *checker) command(m *Module, at string) {
	if len(m.Command) == 0 {
		return
	}
	k.require(m.Command[0] != "", at+".command", "names no program")
	k.require(len(m.Command) <= 256, at+".command", "has more than 256 arguments")
	for _, word := range m.Command {
		k.require(!strings.ContainsRune(word, 0), at+".command", "has a NUL byte")
	}
	for name, value := range m.Env {
		k.require(name != "" && !strings.ContainsAny(name, "=\x00") && !strings.ContainsRune(value, 0), at+".env", "%.40q is not the name of a variable, or has a NUL byte in its value", name)
	}
}
