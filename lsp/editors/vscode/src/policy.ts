// Which files are templates of a policy.
import { statSync } from "node:fs";
import * as path from "node:path";

/** Asks whether a file or a folder is there. */
export interface Disk {
  isFile(path: string): boolean;
  isFolder(path: string): boolean;
}

const kind = (file: string) => statSync(file, { throwIfNoEntry: false });

/** The disk of this machine. */
export const thisDisk: Disk = {
  isFile: (file) => kind(file)?.isFile() ?? false,
  isFolder: (folder) => kind(folder)?.isDirectory() ?? false,
};

/** Whether a file is below a `templates/` that lies in a policy: beside `modules/`, `roles.vgo` or `nodes.vgo`. */
export function isTemplate(file: string, disk: Disk): boolean {
  for (let folder = path.dirname(file); folder !== path.dirname(folder); folder = path.dirname(folder)) {
    if (path.basename(folder) !== "templates") continue;
    const beside = (name: string) => path.join(path.dirname(folder), name);
    if (disk.isFolder(beside("modules")) || disk.isFile(beside("roles.vgo")) || disk.isFile(beside("nodes.vgo"))) return true;
  }
  return false;
}
