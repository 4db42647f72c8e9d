/* version.h - the only place where the version is defined. CMake reads it from here, and scripts/check_arduino.sh
 * checks that library.properties, idf_component.yml, library.json and python/ have the same version. */
#pragma once

#define CMX_VERSION "0.1.0"
