-- Neovim with the language server, set up as docs/editors.md says.
local policy, server = os.getenv("VIGO_POLICY"), os.getenv("VIGO_LSP")

vim.filetype.add({ extension = { vgo = "vgo" } })
vim.lsp.config["vigo"] = {
  cmd = { server },
  filetypes = { "vgo" },
  root_markers = { "roles.vgo", "modules", ".git" },
  settings = { vigo = { envoy = "web-07.acme.test" } },
}
vim.lsp.enable("vigo")

local function fail(what)
  io.stderr:write("FAIL " .. what .. "\n")
  os.exit(1)
end

local function wait(what, condition)
  if not vim.wait(30000, condition, 20) then fail("waited for " .. what) end
  io.write("ok   " .. what .. "\n")
end

local function ask(method, params)
  local answers = vim.lsp.buf_request_sync(0, method, params, 30000)
  for _, answer in pairs(answers or {}) do
    if answer.err then return nil, answer.err.message end
    return answer.result
  end
  fail(method .. " has no answer")
end

-- Puts the cursor behind a text.
local function go(text)
  vim.api.nvim_win_set_cursor(0, { 1, 0 })
  if vim.fn.search("\\V" .. vim.fn.escape(text, "\\"), "cW") == 0 then fail("no " .. text) end
  vim.cmd("normal! " .. (#text - 1) .. "l")
  return vim.lsp.util.make_position_params(0, "utf-16")
end

vim.cmd.edit(policy .. "/modules/nginx.vgo")
local buffer = vim.api.nvim_get_current_buf()
wait("the server runs", function() return #vim.lsp.get_clients({ bufnr = buffer, name = "vigo" }) == 1 end)
local client = vim.lsp.get_clients({ name = "vigo" })[1]
wait("it is ready", function() return client.initialized end)

local hover = ask("textDocument/hover", go("{{ .Vars.server"))
if not hover.contents.value:find("For `web%-07.acme.test`: `www.acme.test`") then fail("hover: " .. hover.contents.value) end
io.write("ok   hover tells the value of the chosen envoy" .. "\n")

-- a mistake, as it is typed
vim.api.nvim_buf_set_lines(buffer, 12, 12, false, { "  unused_one: 1" })
local function messages()
  return vim.tbl_map(function(d) return d.message end, vim.diagnostic.get())
end
wait("a diagnostic appears", function() return table.concat(messages(), "\n"):find("unused_one") ~= nil end)
vim.api.nvim_buf_set_lines(buffer, 12, 13, false, {})
wait("it goes again", function() return #vim.diagnostic.get() == 0 end)

-- completion in a line that is half typed
go("mode: \"0755\"")
vim.api.nvim_buf_set_lines(buffer, vim.fn.line("."), vim.fn.line("."), false, { "    ow" })
vim.api.nvim_win_set_cursor(0, { vim.fn.line(".") + 1, 5 })
local params = vim.lsp.util.make_position_params(0, "utf-16")
params.position.character = 6
local found = ask("textDocument/completion", params)
local labels = vim.tbl_map(function(i) return i.label end, found.items)
if not vim.tbl_contains(labels, "owner") then fail("completion: " .. table.concat(labels, " ")) end
io.write("ok   completion knows the attributes" .. "\n")
vim.api.nvim_del_current_line()

-- formatting leaves a file that has the layout as it is, and gives it to one that has not
local before = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
go("depends_on: [base]")
vim.api.nvim_set_current_line("depends_on:   [ base ]")
vim.lsp.buf.format({ timeout_ms = 30000 })
if not vim.deep_equal(before, vim.api.nvim_buf_get_lines(buffer, 0, -1, false)) then fail("formatting") end
io.write("ok   formatting" .. "\n")

-- a rename across files, made by the editor itself
go("  rate_li")
vim.lsp.buf.rename("requests_per_second")
wait("the file is renamed in", function()
  return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n"):find("requests_per_second") ~= nil
end)
local template = vim.fn.bufnr(policy .. "/templates/nginx/site.conf.tmpl")
wait("the template too", function()
  return template > 0 and table.concat(vim.api.nvim_buf_get_lines(template, 0, -1, false), "\n"):find("requests_per_second") ~= nil
end)
local test = vim.fn.bufnr(policy .. "/tests/web.vgo")
wait("and the tests", function()
  return test > 0 and table.concat(vim.api.nvim_buf_get_lines(test, 0, -1, false), "\n"):find("requests_per_second") ~= nil
end)
vim.cmd("silent wall")
wait("nothing is wrong afterwards", function() return #vim.diagnostic.get() == 0 end)

local _, refused = ask("textDocument/rename", vim.tbl_extend("force", go("requests_per_se"), { newName = "server_name" }))
if not (refused and refused:find("already")) then fail("a clash is not refused") end
io.write("ok   a clash is refused: " .. refused .. "\n")

local reply = ask("workspace/executeCommand", {
  command = "vigo.explain",
  arguments = { { uri = vim.uri_from_bufnr(buffer), position = go("{{ .Vars.server").position } },
})
if not reply.text:find("^server_name = www.acme.test") then fail("explain: " .. vim.inspect(reply)) end
io.write("ok   explain" .. "\n")

-- where a type comes from, and what makes a name what it is
local found = ask("textDocument/typeDefinition", go("{{ .Vars.server"))
if found[1].range.start.line ~= 3 then fail("type: " .. vim.inspect(found)) end
found = ask("textDocument/implementation", go("{{ .Vars.server"))
if #found < 2 then fail("implementation: " .. vim.inspect(found)) end
io.write("ok   types and implementations" .. "\n")

-- lines above declarations get their texts when they are seen
vim.lsp.codelens.refresh({ bufnr = buffer })
wait("a lens counts references", function()
  return vim.iter(vim.lsp.codelens.get(buffer)):any(function(l) return l.command ~= nil and l.command.title:find("%d+ references") ~= nil end)
end)

-- a refactoring whose edit comes when it is chosen
go("target_path: /srv/ww")
vim.lsp.buf.code_action({
  context = { only = { "refactor.extract" }, diagnostics = {} },
  filter = function(action) return action.title:find("^Extract to the variable") ~= nil end,
  apply = true,
})
wait("a value becomes a variable", function()
  local text = table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n")
  return text:find("nginx_target_path: /srv/www", 1, true) ~= nil and text:find('target_path: "{{ .Vars.nginx_target_path }}"', 1, true) ~= nil
end)
wait("nothing is wrong with it", function() return #vim.diagnostic.get() == 0 end)

vim.cmd("qall!")
