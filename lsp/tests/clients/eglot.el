;; Emacs with eglot and the language server, set up as docs/editors.md says.
(package-initialize)
(require 'eglot)
(require 'flymake)
(require 'cl-lib)

(define-derived-mode vgo-mode prog-mode "Vigo"
  (setq-local comment-start "# "))
(add-to-list 'auto-mode-alist '("\\.vgo\\'" . vgo-mode))
(add-to-list 'eglot-server-programs (cons 'vgo-mode (list (getenv "VIGO_LSP"))))

(defun fail (what)
  (message "FAIL %s" what)
  (kill-emacs 1))

(defun wait-for (what condition)
  (let ((until (+ (float-time) 30)))
    (while (and (not (funcall condition)) (< (float-time) until))
      (accept-process-output nil 0.05))
    (if (funcall condition) (message "ok   %s" what) (fail what))))

(setq eglot-sync-connect 30
      eglot-autoshutdown t
      flymake-no-changes-timeout 0.1)
(find-file (concat (getenv "VIGO_POLICY") "/modules/nginx.vgo"))
(setq project-find-functions
      (list (lambda (_) (cons 'transient (getenv "VIGO_POLICY")))))
(call-interactively #'eglot)
(wait-for "the server runs" #'eglot-current-server)
(flymake-mode 1)

(goto-char (point-min))
(search-forward "{{ .Vars.serv")
(let ((hover (jsonrpc-request (eglot-current-server) :textDocument/hover
                              (eglot--TextDocumentPositionParams))))
  (unless (string-match-p "server_name" (format "%s" hover)) (fail "hover"))
  (message "ok   hover"))

(goto-char (point-min))
(search-forward "vars:\n")
(insert "  unused_one: 1\n")
(eglot--signal-textDocument/didChange)
(wait-for "a diagnostic appears"
          (lambda ()
            (flymake-start)
            (seq-some (lambda (d) (string-match-p "unused_one" (flymake-diagnostic-text d)))
                      (flymake-diagnostics))))
(forward-line -1)
(delete-region (point) (progn (forward-line 1) (point)))

(goto-char (point-min))
(search-forward "depends_on: [base]")
(replace-match "depends_on:   [ base ]")
(eglot-format-buffer)
(goto-char (point-min))
(unless (search-forward "depends_on: [base]" nil t) (fail "formatting"))
(message "ok   formatting")

(goto-char (point-min))
(search-forward "  rate_li")
(eglot--signal-textDocument/didChange)
;; it asks before it edits other files
(cl-letf (((symbol-function 'y-or-n-p) (lambda (_) t)))
  (eglot-rename "requests_per_second"))
(goto-char (point-min))
(unless (search-forward "  requests_per_second: {" nil t) (fail "rename"))
(unless (seq-some (lambda (b) (with-current-buffer b
                                (and (string-suffix-p "site.conf.tmpl" (or (buffer-file-name) ""))
                                     (goto-char (point-min))
                                     (search-forward ".Vars.requests_per_second" nil t))))
                  (buffer-list))
  (fail "rename in the template"))
(message "ok   rename, in the template too")

(let ((found (jsonrpc-request (eglot-current-server) :textDocument/implementation
                              (progn (goto-char (point-min)) (search-forward "{{ .Vars.serv")
                                     (eglot--TextDocumentPositionParams)))))
  (unless (> (length found) 1) (fail "implementation"))
  (message "ok   implementations"))
(dolist (b (buffer-list)) (with-current-buffer b (set-buffer-modified-p nil)))
(kill-emacs 0)
