// A kubelet's two ways into a container, for tests: exec and logs.
//
// The streams are those of a real kubelet (k8s.io/kubelet). A container is this machine: a command
// is a process here, and a container named "bare" has neither a shell nor env. What a container
// runtime answers when it can't start something is said in containerd's words.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	remotecommandclient "k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/cert"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

var (
	address = flag.String("address", "", "where to listen")
	logFile = flag.String("log", "", "the log of every container")
)

type runtime struct{}

func (runtime) ExecInContainer(_ context.Context, _ string, _ types.UID, container string, words []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan remotecommandclient.TerminalSize, _ time.Duration) error {
	command := exec.Command(words[0], words[1:]...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "container=played"}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	command.Stdout, command.Stderr = out, errs
	if in != nil {
		// Not command.Stdin, for whose end the command's would wait.
		pipe, err := command.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			_ = pipe.Close()
		}()
	}
	err := command.Err
	if container == "bare" && (words[0] == "sh" || words[0] == "env") {
		err = &exec.Error{Name: words[0], Err: exec.ErrNotFound}
	}
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return fmt.Errorf("failed to exec in container: failed to start exec %q: OCI runtime exec failed: exec failed: unable to start container process: %w: unknown", container, err)
	}
	err = command.Wait()
	var exited *exec.ExitError
	if !errors.As(err, &exited) {
		return err
	}
	code := exited.ExitCode()
	if status, ok := exited.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	return utilexec.CodeExitError{Err: err, Code: code}
}

func runs(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, runtime{}, "", "", path.Base(r.URL.Path), r.URL.Query()["command"], options, time.Hour, 30*time.Second, remotecommandconsts.SupportedStreamingProtocols)
}

func logs(w http.ResponseWriter, r *http.Request) {
	text, err := os.ReadFile(*logFile)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.URL.Query().Get("previous") == "true" {
		http.Error(w, "previous terminated container not found", http.StatusBadRequest)
		return
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	if tail, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil && tail+1 < len(lines) {
		lines = lines[len(lines)-tail-1:]
	}
	text = bytes.Join(lines, nil)
	if limit, err := strconv.Atoi(r.URL.Query().Get("limitBytes")); err == nil && limit < len(text) {
		text = text[:limit]
	}
	_, _ = w.Write(text)
}

func main() {
	flag.Parse()
	host, _, _ := strings.Cut(*address, ":")
	certificate, key, err := cert.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/", runs)
	mux.HandleFunc("/containerLogs/", logs)
	// SPDY takes a connection over, which HTTP/2 doesn't let it.
	server := &http.Server{Addr: *address, Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
