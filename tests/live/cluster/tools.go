//go:build tools

// Package cluster names the programs that tests of Kubernetes run, at one version.
package cluster

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
